#include "ops/vm_check.h"

#include <string.h>
#include <unistd.h>

#include "backend/registry.h"
#include "model/size.h"
#include "util/mem.h"

#define CPUS_MAX       255 /* what a microvm's APIC can number */
#define MEMORY_MIN_MIB 96  /* the stock kernel panics in 64 and boots in 80 */
#define MEMORY_MAX_MIB (1024 * GIB / MIB)

int vm_require_state(const Vm *vm, const char *expected, unsigned allowed_mask, Error **err)
{
	if (allowed_mask & VM_MASK(vm->state))
		return 0;
	error_set(err, ERR_STATE, "vm '%s' is %s, expected %s", vm->name, vm_state_name(vm->state),
		  expected);
	switch (vm->state) {
	case VM_CREATED:
	case VM_STOPPED:
		return error_hint(err, "start it first: ember vm start %s", vm->name);
	case VM_STARTING:
		return error_hint(
			err,
			"wait for it: ember vm wait %s; if its start was cut off: ember reconcile",
			vm->name);
	case VM_PAUSED:
	case VM_RUNNING:
		return error_hint(err, "stop it first: ember vm stop %s", vm->name);
	case VM_SUSPENDED:
	case VM_BROKEN:
	case VM_STATES:
		break;
	}
	return error_hint(err, "mend the records: ember reconcile");
}

int vm_check_shape(const VmChanges *shape, Error **err)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	uint32_t most = online > 0 && online < CPUS_MAX ? (uint32_t)online : CPUS_MAX;

	if (shape->cpus > most) {
		error_set(err, ERR_USAGE, "--cpus: %u is more than this host can give, %u",
			  shape->cpus, most);
		return error_hint(err, "use at most --cpus %u", most);
	}
	if (shape->memory_mib &&
	    (shape->memory_mib < MEMORY_MIN_MIB || shape->memory_mib > MEMORY_MAX_MIB)) {
		auto_free char *text = size_text(shape->memory_mib * MIB);

		error_set(err, ERR_USAGE, "--memory: %s is out of range", text);
		return error_hint(err, "use 96M to 1T, for example --memory 512M");
	}
	if (shape->disk_size_mib > VM_DISK_MAX_MIB) {
		auto_free char *text = size_text(shape->disk_size_mib * MIB);

		error_set(err, ERR_USAGE, "--disk-size: %s is too large", text);
		return error_hint(err, "use at most --disk-size 16T");
	}
	if (shape->network && strcmp(shape->network, "auto") != 0 &&
	    !network_backend_find(shape->network, err))
		return -1;
	return 0;
}

int vm_check_text(const char *flag, const char *text, Error **err)
{
	if (!text || str_is_utf8(text))
		return 0;
	/* Records are JSON. */
	error_set(err, ERR_USAGE, "%s: the text is not UTF-8", flag);
	return error_hint(err, "write it in UTF-8, for example %s abc", flag);
}

int vm_check_hypervisor(const char *wish, Error **err)
{
	if (!wish || !strcmp(wish, "auto"))
		return 0;
	return hypervisor_backend_find(wish, err) ? 0 : -1;
}

int vm_check_pairs(const char *flag, const Strv *pairs, Error **err)
{
	for (size_t i = 0; i < pairs->count; i++) {
		const char *equals = strchr(pairs->items[i], '=');

		if (vm_check_text(flag, pairs->items[i], err) < 0)
			return -1;
		if (equals && equals != pairs->items[i])
			continue;
		error_set(err, ERR_USAGE, "%s: '%s' is not NAME=VALUE", flag, pairs->items[i]);
		return error_hint(err, "write it like %s KEY=value", flag);
	}
	return 0;
}
