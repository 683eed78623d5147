#include "state/records.h"

#include <inttypes.h>
#include <string.h>

#include "model/size.h"
#include "model/uuid.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"

#define DISK_MAX_MIB   (64 * TIB / MIB)
#define MEMORY_MAX_MIB (16 * TIB / MIB)
#define CPUS_MAX       4096

int record_check_schema(const json_t *doc, Error **err)
{
	uint64_t schema = 0;

	if (!json_is_object(doc))
		return error_set(err, ERR_FAILED, "not a JSON object");
	if (json_get_u64(doc, "schema", UINT32_MAX, &schema, err) < 0)
		return -1;
	if (schema == 0 || schema > RECORD_SCHEMA) {
		error_set(err, ERR_UNSUPPORTED,
			  "record has schema %" PRIu64 ", this ember knows up to %d", schema,
			  RECORD_SCHEMA);
		return error_hint(err, "use the newer ember that wrote it");
	}
	return 0;
}

static json_t *ports_to_json(const Ports *ports)
{
	json_t *array = json_array();

	for (size_t i = 0; i < ports->count; i++) {
		json_t *port = json_object();

		json_put_string(port, "host_ip", ports->items[i].host_ip);
		json_put_u64(port, "host_port", ports->items[i].host_port);
		json_put_u64(port, "guest_port", ports->items[i].guest_port);
		json_put_string(port, "protocol", ports->items[i].is_udp ? "udp" : "tcp");
		(void)json_array_append_new(array, port);
	}
	return array;
}

static int ports_from_json(const json_t *doc, Ports *out_ports, Error **err)
{
	const json_t *array = NULL, *item;
	size_t i;

	if (json_get_array_opt(doc, "ports", &array, err) < 0)
		return -1;
	json_array_foreach(array, i, item)
	{
		auto_free char *protocol = NULL;
		uint64_t host_port, guest_port;
		Port *port;

		if (json_get_u64(item, "host_port", UINT16_MAX, &host_port, err) < 0 ||
		    json_get_u64(item, "guest_port", UINT16_MAX, &guest_port, err) < 0 ||
		    json_get_string(item, "protocol", &protocol, err) < 0)
			return error_wrap(err, "port %zu", i + 1);
		out_ports->items =
			xreallocarray(out_ports->items, out_ports->count + 1, sizeof(*port));
		port = &out_ports->items[out_ports->count++];
		*port = (Port){ .host_port = (uint16_t)host_port,
				.guest_port = (uint16_t)guest_port,
				.is_udp = !strcmp(protocol, "udp") };
		if (json_get_string_opt(item, "host_ip", &port->host_ip, err) < 0)
			return error_wrap(err, "port %zu", i + 1);
	}
	return 0;
}

static json_t *network_to_json(const VmNetwork *network, const Ports *ports)
{
	json_t *obj;

	if (!network->mode)
		return json_null();
	obj = json_object();
	json_put_string(obj, "mode", network->mode);
	json_put_string(obj, "tap_device", network->tap_device);
	json_put_string(obj, "host_ip", network->host_ip);
	json_put_string(obj, "guest_ip", network->guest_ip);
	json_put_string(obj, "netmask", network->netmask);
	json_put_string(obj, "guest_mac", network->guest_mac);
	json_put_string(obj, "wan_iface", network->wan_iface);
	json_put_strv(obj, "dns", &network->dns);
	json_put_take(obj, "ports", ports_to_json(ports));
	return obj;
}

static int network_from_json(const json_t *doc, VmNetwork *out_network, Error **err)
{
	const json_t *obj = NULL;

	if (json_get_object_opt(doc, "network", &obj, err) < 0)
		return -1;
	if (!obj)
		return 0;
	if (json_get_string(obj, "mode", &out_network->mode, err) < 0 ||
	    json_get_string_opt(obj, "tap_device", &out_network->tap_device, err) < 0 ||
	    json_get_string_opt(obj, "host_ip", &out_network->host_ip, err) < 0 ||
	    json_get_string_opt(obj, "guest_ip", &out_network->guest_ip, err) < 0 ||
	    json_get_string_opt(obj, "netmask", &out_network->netmask, err) < 0 ||
	    json_get_string_opt(obj, "guest_mac", &out_network->guest_mac, err) < 0 ||
	    json_get_string_opt(obj, "wan_iface", &out_network->wan_iface, err) < 0 ||
	    json_get_strv_opt(obj, "dns", &out_network->dns, err) < 0)
		return error_wrap(err, "field 'network'");
	return 0;
}

static void put_process(json_t *doc, const char *pid_key, const char *start_key, const ProcId *id)
{
	json_put_take(doc, pid_key, id->pid ? json_integer(id->pid) : json_null());
	json_put_take(doc, start_key,
		      id->pid ? json_integer((json_int_t)id->started) : json_null());
}

static int get_process(const json_t *doc, const char *pid_key, const char *start_key,
		       ProcId *out_id, Error **err)
{
	uint64_t pid = 0, started = 0;

	if (json_get_u64_opt(doc, pid_key, INT32_MAX, &pid, err) < 0 ||
	    json_get_u64_opt(doc, start_key, INT64_MAX, &started, err) < 0)
		return -1;
	*out_id = (ProcId){ .pid = (pid_t)pid, .started = started };
	return 0;
}

json_t *vm_to_json(const Vm *vm)
{
	json_t *doc = json_object(), *ssh = json_object();

	json_put_u64(doc, "schema", RECORD_SCHEMA);
	json_put_string(doc, "name", vm->name);
	if (vm->former_name)
		json_put_string(doc, "former_name", vm->former_name);
	json_put_string(doc, "id", vm->id);
	json_put_string(doc, "volume", vm->volume);
	json_put_string(doc, "status", vm_state_name(vm->state));
	json_put_string(doc, "image", vm->image);
	json_put_string(doc, "image_id", vm->image_id);
	json_put_u64(doc, "cpus", vm->cpus);
	json_put_u64(doc, "memory_mib", vm->memory_mib);
	json_put_u64(doc, "disk_size_mib", vm->disk_size_mib);
	if (vm->disk_resize_mib)
		json_put_u64(doc, "disk_resize_mib", vm->disk_resize_mib);
	json_put_string(doc, "kernel", vm->kernel);
	json_put_string(doc, "kernel_path", vm->kernel_path);
	json_put_string(doc, "disk_path", vm->disk_path);
	json_put_string(doc, "boot_args", vm->boot_args);
	json_put_string(doc, "hypervisor", vm->hypervisor);
	json_put_string(doc, "hypervisor_wish", vm->hypervisor_wish);
	json_put_string(doc, "accelerator", vm->accelerator);
	json_put_string(doc, "network_mode", vm->network_mode);
	json_put_string(doc, "subnet", vm->subnet);
	json_put_take(doc, "network", network_to_json(&vm->network, &vm->ports));
	json_put_take(doc, "ports", ports_to_json(&vm->ports));
	put_process(doc, "pid", "pid_start", &vm->process);
	put_process(doc, "keeper_pid", "keeper_start", &vm->keeper);
	json_put_string(doc, "created_at", vm->created_at);
	json_put_string(doc, "started_at", vm->started_at);
	json_put_string(doc, "parent_vm", vm->parent_vm);
	json_put_string(doc, "parent_id", vm->parent_id);
	json_put_string(doc, "parent_snapshot", vm->parent_snapshot);
	json_put_pairs(doc, "labels", &vm->labels);
	json_put_bool(doc, "has_init", vm->has_init);
	json_put_strv(doc, "env", &vm->env);
	json_put_string(doc, "user", vm->user);
	json_put_string(doc, "workdir", vm->workdir);
	json_put_bool(doc, "run_cmd", vm->run_cmd);
	json_put_strv(doc, "run_env", &vm->run_env);
	json_put_string(ssh, "user", vm->ssh_user);
	json_put_string(ssh, "key", vm->ssh_key);
	json_put_take(doc, "ssh", ssh);
	return doc;
}

bool records_same_vm(const Vm *a, const Vm *b)
{
	json_auto_t *one = vm_to_json(a);
	json_auto_t *other = vm_to_json(b);

	return json_equal(one, other);
}

/* What every record must have, and what makes it usable as part of a path. */
static int get_identity(const json_t *doc, Vm *vm, Error **err)
{
	auto_free char *status = NULL;

	if (json_get_string(doc, "name", &vm->name, err) < 0 ||
	    json_get_string_opt(doc, "former_name", &vm->former_name, err) < 0 ||
	    json_get_string(doc, "id", &vm->id, err) < 0 ||
	    json_get_string(doc, "status", &status, err) < 0 || name_check("vm", vm->name, err) < 0)
		return -1;
	if (json_get_string_opt(doc, "volume", &vm->volume, err) < 0)
		return -1;
	if (!uuid_is_valid(vm->id))
		return error_set(err, ERR_FAILED, "field 'id' is not a UUID");
	if (!vm->volume)
		vm->volume = xstrdup(vm->id); /* as in every record of an older ember */
	if (!uuid_is_valid(vm->volume))
		return error_set(err, ERR_FAILED, "field 'volume' is not a UUID");
	if (!vm_state_parse(status, &vm->state) || vm->state == VM_BROKEN)
		return error_set(err, ERR_FAILED, "field 'status' has an unknown value");
	return 0;
}

static int get_shape(const json_t *doc, Vm *vm, Error **err)
{
	uint64_t cpus;

	if (json_get_u64(doc, "cpus", CPUS_MAX, &cpus, err) < 0 ||
	    json_get_u64(doc, "memory_mib", MEMORY_MAX_MIB, &vm->memory_mib, err) < 0 ||
	    json_get_u64(doc, "disk_size_mib", DISK_MAX_MIB, &vm->disk_size_mib, err) < 0 ||
	    json_get_u64_opt(doc, "disk_resize_mib", DISK_MAX_MIB, &vm->disk_resize_mib, err) < 0 ||
	    json_get_string_opt(doc, "kernel", &vm->kernel, err) < 0 ||
	    json_get_string_opt(doc, "kernel_path", &vm->kernel_path, err) < 0 ||
	    json_get_string_opt(doc, "boot_args", &vm->boot_args, err) < 0 ||
	    json_get_string_opt(doc, "hypervisor", &vm->hypervisor, err) < 0 ||
	    json_get_string_opt(doc, "hypervisor_wish", &vm->hypervisor_wish, err) < 0 ||
	    json_get_string_opt(doc, "accelerator", &vm->accelerator, err) < 0 ||
	    json_get_string_opt(doc, "network_mode", &vm->network_mode, err) < 0 ||
	    json_get_string_opt(doc, "subnet", &vm->subnet, err) < 0)
		return -1;
	vm->cpus = (uint32_t)cpus;
	return 0;
}

static int get_history(const json_t *doc, Vm *vm, Error **err)
{
	if (json_get_string_opt(doc, "image", &vm->image, err) < 0 ||
	    json_get_string_opt(doc, "image_id", &vm->image_id, err) < 0 ||
	    json_get_string_opt(doc, "disk_path", &vm->disk_path, err) < 0 ||
	    json_get_string_opt(doc, "created_at", &vm->created_at, err) < 0 ||
	    json_get_string_opt(doc, "started_at", &vm->started_at, err) < 0 ||
	    json_get_string_opt(doc, "parent_vm", &vm->parent_vm, err) < 0 ||
	    json_get_string_opt(doc, "parent_id", &vm->parent_id, err) < 0 ||
	    json_get_string_opt(doc, "parent_snapshot", &vm->parent_snapshot, err) < 0 ||
	    json_get_bool_opt(doc, "has_init", &vm->has_init, err) < 0 ||
	    json_get_strv_opt(doc, "env", &vm->env, err) < 0 ||
	    json_get_string_opt(doc, "user", &vm->user, err) < 0 ||
	    json_get_string_opt(doc, "workdir", &vm->workdir, err) < 0 ||
	    json_get_bool_opt(doc, "run_cmd", &vm->run_cmd, err) < 0 ||
	    json_get_strv_opt(doc, "run_env", &vm->run_env, err) < 0)
		return -1;
	return 0;
}

/* Records of an older ember have one field for what was wished and what was. */
static void tell_wishes(const json_t *doc, Vm *vm)
{
	if (!json_object_get(doc, "kernel")) {
		auto_free char *kernel = steal(&vm->kernel_path);

		vm_wish_kernel(vm, kernel);
	}
	if (!json_object_get(doc, "hypervisor_wish") && !vm->started_at)
		vm_wish_hypervisor(vm, vm->hypervisor);
}

int vm_from_json(const json_t *doc, Vm *out_vm, Error **err)
{
	auto_vm Vm vm = { 0 };
	const json_t *ssh = NULL;

	if (record_check_schema(doc, err) < 0 || get_identity(doc, &vm, err) < 0 ||
	    get_shape(doc, &vm, err) < 0 || get_history(doc, &vm, err) < 0 ||
	    network_from_json(doc, &vm.network, err) < 0 ||
	    ports_from_json(doc, &vm.ports, err) < 0 ||
	    json_get_pairs_opt(doc, "labels", &vm.labels, err) < 0 ||
	    get_process(doc, "pid", "pid_start", &vm.process, err) < 0 ||
	    get_process(doc, "keeper_pid", "keeper_start", &vm.keeper, err) < 0 ||
	    json_get_object_opt(doc, "ssh", &ssh, err) < 0)
		return -1;
	if (ssh && (json_get_string_opt(ssh, "user", &vm.ssh_user, err) < 0 ||
		    json_get_string_opt(ssh, "key", &vm.ssh_key, err) < 0))
		return error_wrap(err, "field 'ssh'");
	tell_wishes(doc, &vm);
	*out_vm = vm;
	vm = (Vm){ 0 };
	return 0;
}

json_t *image_to_json(const Image *image)
{
	json_t *doc = json_object();

	json_put_u64(doc, "schema", RECORD_SCHEMA);
	json_put_string(doc, "local_name", image->name);
	if (image->former_name)
		json_put_string(doc, "former_name", image->former_name);
	json_put_string(doc, "id", image->id);
	json_put_string(doc, "reference", image->reference);
	json_put_string(doc, "digest", image->digest);
	json_put_string(doc, "arch", image->arch);
	json_put_u64(doc, "size_bytes", image->size_bytes);
	json_put_string(doc, "disk_path", image->disk_path);
	json_put_string(doc, "created_at", image->created_at);
	json_put_bool(doc, "has_init", image->has_init);
	json_put_take(doc, "config", image_config_to_json(&image->config));
	return doc;
}

int image_from_json(const json_t *doc, Image *out_image, Error **err)
{
	auto_image Image image = { 0 };
	const json_t *config = NULL;

	if (record_check_schema(doc, err) < 0 ||
	    json_get_string(doc, "local_name", &image.name, err) < 0 ||
	    name_check("image", image.name, err) < 0 ||
	    json_get_string_opt(doc, "former_name", &image.former_name, err) < 0 ||
	    json_get_string(doc, "id", &image.id, err) < 0 ||
	    json_get_string_opt(doc, "reference", &image.reference, err) < 0 ||
	    json_get_string_opt(doc, "digest", &image.digest, err) < 0 ||
	    json_get_string_opt(doc, "arch", &image.arch, err) < 0 ||
	    json_get_u64(doc, "size_bytes", INT64_MAX, &image.size_bytes, err) < 0 ||
	    json_get_string_opt(doc, "disk_path", &image.disk_path, err) < 0 ||
	    json_get_string_opt(doc, "created_at", &image.created_at, err) < 0 ||
	    json_get_bool_opt(doc, "has_init", &image.has_init, err) < 0 ||
	    json_get_object_opt(doc, "config", &config, err) < 0)
		return -1;
	if (!uuid_is_valid(image.id))
		return error_set(err, ERR_FAILED, "field 'id' is not a UUID");
	if (config && image_config_from_json(config, &image.config, err) < 0)
		return -1;
	*out_image = image;
	image = (Image){ 0 };
	return 0;
}

json_t *config_to_json(const Config *config)
{
	json_t *doc = json_object();

	json_put_u64(doc, "schema", RECORD_SCHEMA);
	json_put_string(doc, "instance_id", config->instance_id);
	json_put_string(doc, "storage", config->storage);
	json_put_string(doc, "storage_path", config->storage_path);
	json_put_string(doc, "storage_pool", config->storage_pool);
	json_put_string(doc, "storage_dataset", config->storage_dataset);
	json_put_u64(doc, "storage_size_bytes", config->storage_size_bytes);
	json_put_string(doc, "kernel", config->kernel);
	json_put_string(doc, "hypervisor", config->hypervisor);
	json_put_string(doc, "network", config->network);
	json_put_string(doc, "created_at", config->created_at);
	return doc;
}

int config_from_json(const json_t *doc, Config *out_config, Error **err)
{
	auto_config Config config = { 0 };

	if (record_check_schema(doc, err) < 0 ||
	    json_get_string(doc, "instance_id", &config.instance_id, err) < 0 ||
	    json_get_string(doc, "storage", &config.storage, err) < 0 ||
	    json_get_string_opt(doc, "storage_path", &config.storage_path, err) < 0 ||
	    json_get_string_opt(doc, "storage_pool", &config.storage_pool, err) < 0 ||
	    json_get_string_opt(doc, "storage_dataset", &config.storage_dataset, err) < 0 ||
	    json_get_u64_opt(doc, "storage_size_bytes", INT64_MAX, &config.storage_size_bytes,
			     err) < 0 ||
	    json_get_string_opt(doc, "kernel", &config.kernel, err) < 0 ||
	    json_get_string(doc, "hypervisor", &config.hypervisor, err) < 0 ||
	    json_get_string(doc, "network", &config.network, err) < 0 ||
	    json_get_string_opt(doc, "created_at", &config.created_at, err) < 0)
		return -1;
	if (strlen(config.instance_id) != 4 || strspn(config.instance_id, "0123456789abcdef") != 4)
		return error_set(err, ERR_FAILED, "field 'instance_id' is not 4 hex digits");
	*out_config = config;
	config = (Config){ 0 };
	return 0;
}
