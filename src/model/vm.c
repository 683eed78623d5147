#include "model/vm.h"

#include <assert.h>
#include <string.h>

#include "model/uuid.h"
#include "util/mem.h"

static const char *const state_names[VM_STATES] = {
	[VM_CREATED] = "created", [VM_STARTING] = "starting",	[VM_RUNNING] = "running",
	[VM_PAUSED] = "paused",	  [VM_SUSPENDED] = "suspended", [VM_STOPPED] = "stopped",
	[VM_BROKEN] = "broken",
};

#define TO(state) (1U << (state))

/* Rows: from. Bits: to. */
static const unsigned transitions[VM_STATES] = {
	[VM_CREATED] = TO(VM_STARTING),
	[VM_STARTING] = TO(VM_RUNNING) | TO(VM_CREATED) | TO(VM_STOPPED),
	[VM_RUNNING] = TO(VM_PAUSED) | TO(VM_SUSPENDED) | TO(VM_STOPPED),
	[VM_PAUSED] = TO(VM_RUNNING) | TO(VM_SUSPENDED) | TO(VM_STOPPED),
	[VM_SUSPENDED] = TO(VM_STARTING) | TO(VM_STOPPED),
	[VM_STOPPED] = TO(VM_STARTING),
};

const char *vm_state_name(VmState state)
{
	return state_names[state];
}

bool vm_state_parse(const char *text, VmState *out_state)
{
	for (int i = 0; i < VM_STATES; i++) {
		if (strcmp(text, state_names[i]) != 0)
			continue;
		*out_state = (VmState)i;
		return true;
	}
	return false;
}

bool vm_state_is_live(VmState state)
{
	return state == VM_STARTING || state == VM_RUNNING || state == VM_PAUSED;
}

static bool is_name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

int name_check(const char *what, const char *name, Error **err)
{
	size_t len = strlen(name);
	bool good = len > 0 && len <= VM_NAME_MAX && is_name_start(name[0]);

	for (size_t i = 1; good && i < len; i++)
		good = is_name_start(name[i]) || strchr("._-", name[i]);
	if (good)
		return 0;
	auto_free char *shown =
		str_make_printable(xasprintf("%.80s%s", name, len > 80 ? "..." : ""));

	error_set(err, ERR_USAGE, "'%s' is not a valid %s name", shown, what);
	return error_hint(
		err,
		"use 1 to %d of the characters a-z 0-9 . _ - and begin with a letter or digit, like 'web-1'",
		VM_NAME_MAX);
}

char *vm_mac(const char *vm_id)
{
	uint64_t hash = hash_text(vm_id);

	/* The two low bits of the first byte: 1 = locally administered, 0 = unicast. */
	return xasprintf("52:54:%02x:%02x:%02x:%02x", (unsigned)(hash >> 24 & 0xff),
			 (unsigned)(hash >> 16 & 0xff), (unsigned)(hash >> 8 & 0xff),
			 (unsigned)(hash & 0xff));
}

void env_merge(Strv *env, const Strv *over)
{
	for (size_t i = 0; i < over->count; i++) {
		size_t name_len = strcspn(over->items[i], "=") + 1;
		bool replaced = false;

		for (size_t j = 0; j < env->count && !replaced; j++) {
			replaced = !strncmp(env->items[j], over->items[i], name_len);
			if (replaced)
				str_assign(&env->items[j], over->items[i]);
		}
		if (!replaced)
			strv_push(env, over->items[i]);
	}
}

void vm_wish_kernel(Vm *vm, const char *wish)
{
	str_assign(&vm->kernel, wish);
	str_assign(&vm->kernel_path, wish && *wish == '/' ? wish : NULL);
}

void vm_wish_hypervisor(Vm *vm, const char *wish)
{
	str_assign(&vm->hypervisor_wish, wish);
	if (wish && strcmp(wish, "auto") != 0)
		str_assign(&vm->hypervisor, wish);
}

static void remove_pair(Strv *pairs, const char *name, size_t name_len)
{
	size_t kept = 0;

	for (size_t i = 0; i < pairs->count; i++) {
		const char *pair = pairs->items[i];

		if (!strncmp(pair, name, name_len) && pair[name_len] == '=')
			free(pairs->items[i]);
		else
			pairs->items[kept++] = pairs->items[i];
	}
	if (pairs->items)
		pairs->items[kept] = NULL;
	pairs->count = kept;
}

void pairs_edit(Strv *pairs, const Strv *edits)
{
	for (size_t i = 0; i < edits->count; i++) {
		const char *edit = edits->items[i];
		const Strv one = { .items = &edits->items[i], .count = 1 };

		if (strchr(edit, '='))
			env_merge(pairs, &one);
		else
			remove_pair(pairs, edit, strlen(edit) - 1);
	}
}

static void ports_release(Ports *ports)
{
	for (size_t i = 0; i < ports->count; i++)
		free(ports->items[i].host_ip);
	free(ports->items);
	*ports = (Ports){ 0 };
}

void vm_set_state(Vm *vm, VmState to)
{
	assert(transitions[vm->state] & TO(to));
	vm->state = to;
}

void vm_network_release(VmNetwork *network)
{
	free(network->mode);
	free(network->tap_device);
	free(network->host_ip);
	free(network->guest_ip);
	free(network->netmask);
	free(network->guest_mac);
	free(network->wan_iface);
	strv_release(&network->dns);
	*network = (VmNetwork){ 0 };
}

void vm_release(Vm *vm)
{
	free(vm->name);
	free(vm->former_name);
	free(vm->id);
	free(vm->image);
	free(vm->image_id);
	free(vm->kernel);
	free(vm->kernel_path);
	free(vm->volume);
	free(vm->disk_path);
	free(vm->boot_args);
	free(vm->hypervisor);
	free(vm->hypervisor_wish);
	free(vm->accelerator);
	free(vm->network_mode);
	free(vm->subnet);
	vm_network_release(&vm->network);
	ports_release(&vm->ports);
	free(vm->created_at);
	free(vm->started_at);
	free(vm->parent_vm);
	free(vm->parent_id);
	free(vm->parent_snapshot);
	strv_release(&vm->labels);
	strv_release(&vm->env);
	free(vm->user);
	free(vm->workdir);
	strv_release(&vm->run_env);
	free(vm->ssh_user);
	free(vm->ssh_key);
	*vm = (Vm){ 0 };
}

void vm_list_push_take(VmList *list, Vm *vm)
{
	list->items = xreallocarray(list->items, list->count + 1, sizeof(*vm));
	list->items[list->count++] = *vm;
	*vm = (Vm){ 0 };
}

void vm_list_release(VmList *list)
{
	for (size_t i = 0; i < list->count; i++)
		vm_release(&list->items[i]);
	free(list->items);
	*list = (VmList){ 0 };
}
