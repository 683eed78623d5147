#include "test.h"

#include <unistd.h>

#include "model/uuid.h"
#include "state/records.h"
#include "state/snapshots.h"
#include "state/store.h"
#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"

static char root[64];
static Store store;

static void open_store(void)
{
	auto_error err = NULL;

	(void)snprintf(root, sizeof(root), "/tmp/ember-unit-XXXXXX");
	CHECK(mkdtemp(root));
	CHECK_OK(store_open(root, &store, &err), err);
	CHECK_OK(store_make_dirs(&store, &err), err);
}

static void close_store(void)
{
	(void)fs_remove_tree(root, NULL);
	store_release(&store);
}

static void make_vm(const char *name, Vm *vm)
{
	*vm = (Vm){ .name = xstrdup(name),
		    .id = uuid_new(),
		    .state = VM_RUNNING,
		    .cpus = 2,
		    .memory_mib = 512,
		    .disk_size_mib = 8192,
		    .created_at = xstrdup("2026-11-23T10:00:00Z"),
		    .process = { .pid = 4711, .started = 99 } };
	strv_push(&vm->labels, "team=a=b");
	strv_push(&vm->env, "PATH=/bin");
	vm->network.mode = xstrdup("user");
	vm->network.guest_ip = xstrdup("10.0.2.15");
}

static void write_vm(const char *name)
{
	auto_error err = NULL;
	auto_vm Vm vm = { 0 };
	auto_free char *dir = store_vm_dir(&store, name);

	make_vm(name, &vm);
	CHECK_OK(fs_mkdir(dir, 0700, &err), err);
	CHECK_OK(records_write_vm(&store, &vm, &err), err);
}

static void test_round_trip(void)
{
	auto_error err = NULL;
	auto_vm Vm vm = { 0 };

	open_store();
	write_vm("web");
	CHECK_OK(records_read_vm(&store, "web", &vm, &err), err);
	CHECK_STR(vm.name, "web");
	CHECK_INT(vm.state, VM_RUNNING);
	CHECK_INT(vm.process.pid, 4711);
	CHECK_INT(vm.process.started, 99);
	CHECK_STR(vm.labels.items[0], "team=a=b");
	CHECK_STR(vm.network.guest_ip, "10.0.2.15");
	CHECK(vm.parent_vm == NULL);
	close_store();
}

/* Wherever the directory is when the rename is cut off, its record speaks for it, and for no third one. */
static void test_rename(void)
{
	static const char *const places[] = { "vms/web", "vms/shop", "trash/vm:web:12345678",
					      "tmp/vm:shop" };
	static const char *const names[] = { "web", "shop", "web", "shop" };
	auto_error err = NULL;
	auto_vm Vm vm = { 0 };

	open_store();
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		auto_free char *dir = store_path(&store, places[i]);
		auto_vm Vm read = { 0 };

		vm_release(&vm);
		make_vm("shop", &vm);
		vm.former_name = xstrdup("web");
		CHECK_OK(fs_mkdir(dir, 0700, &err), err);
		CHECK_OK(records_write_vm_at(dir, &vm, false, &err), err);
		CHECK_OK(records_read_vm_at(dir, &read, &err), err);
		CHECK_STR(read.name, names[i]);
		CHECK(!read.former_name);
	}
	auto_free char *copy = store_vm_dir(&store, "copy");

	CHECK_OK(fs_mkdir(copy, 0700, &err), err);
	CHECK_OK(records_write_vm_at(copy, &vm, false, &err), err);
	vm_release(&vm);
	CHECK_FAILS(records_read_vm_at(copy, &vm, &err), err, ERR_FAILED);
	close_store();
}

static void test_broken_record(void)
{
	auto_error err = NULL;
	auto_vm Vm vm = { 0 };
	auto_vm_list VmList list = { 0 };
	auto_free char *path = NULL;

	open_store();
	write_vm("a");
	write_vm("b");
	path = store_vm_file(&store, "a", "vm.json");
	CHECK_OK(fs_write_atomic(path, "{\"schema\":", 10, 0600, false, &err), err);
	CHECK_OK(records_list_vms(&store, &list, &err), err);
	CHECK_INT(list.count, 2);
	CHECK_INT(list.items[0].state, VM_BROKEN);
	CHECK_INT(list.items[1].state, VM_RUNNING);
	CHECK_FAILS(records_read_vm(&store, "a", &vm, &err), err, ERR_FAILED);
	close_store();
}

static void test_missing_vm_suggests(void)
{
	auto_error err = NULL;
	auto_vm Vm vm = { 0 };

	open_store();
	write_vm("web");
	CHECK(records_read_vm(&store, "wbe", &vm, &err) < 0);
	CHECK_INT(error_code(err), ERR_NOT_FOUND);
	CHECK_CONTAINS(error_hint_text(err), "did you mean 'web'");
	error_clear(&err);
	CHECK_FAILS(records_read_vm(&store, "../web", &vm, &err), err, ERR_USAGE);
	close_store();
}

/* Then one field said what was wished and what was. */
static void test_older_record(void)
{
	static const char text[] =
		"{\"schema\":1,\"name\":\"a\",\"id\":\"0f8fad5b-d9cb-469f-a165-70867728950e\","
		"\"status\":\"created\",\"cpus\":1,\"memory_mib\":256,\"disk_size_mib\":1024,"
		"\"kernel_path\":\"mine\",\"hypervisor\":\"qemu\"}";
	auto_error err = NULL;
	json_auto_t *doc = NULL;
	json_auto_t *newer = NULL;
	auto_vm Vm vm = { 0 };
	auto_vm Vm again = { 0 };

	CHECK_OK(json_parse_text(text, strlen(text), &doc, &err), err);
	CHECK_OK(vm_from_json(doc, &vm, &err), err);
	CHECK_STR(vm.kernel, "mine");
	CHECK(!vm.kernel_path);
	CHECK_STR(vm.hypervisor_wish, "qemu");
	CHECK_STR(vm.volume, vm.id);
	/* The default is a wish too, and what it came to is none. */
	vm_wish_kernel(&vm, NULL);
	vm.kernel_path = xstrdup("/k/vmlinux");
	vm_wish_hypervisor(&vm, NULL);
	newer = vm_to_json(&vm);
	CHECK_OK(vm_from_json(newer, &again, &err), err);
	CHECK(!again.kernel && !again.hypervisor_wish);
	CHECK_STR(again.kernel_path, "/k/vmlinux");
	CHECK_STR(again.hypervisor, "qemu");
}

static void refuse_record(const char *text, ErrorCode code)
{
	auto_error err = NULL;
	json_auto_t *doc = NULL;
	auto_vm Vm vm = { 0 };

	CHECK_OK(json_parse_text(text, strlen(text), &doc, &err), err);
	CHECK_FAILS(vm_from_json(doc, &vm, &err), err, code);
}

static void write_snapshot(const char *vm_name, const char *vm_id, const char *name, const char *id)
{
	Snapshot snapshot = { .name = xstrdup(name),
			      .id = xstrdup(id),
			      .vm_id = xstrdup(vm_id),
			      .disk_size_mib = 8192,
			      .vm_state = VM_PAUSED,
			      .consistency = CONSISTENT_FILESYSTEM };
	auto_free char *dir = snapshot_dir(&store, vm_name, name);
	auto_error err = NULL;

	CHECK_OK(fs_mkdir_all(dir, 0700, &err), err);
	CHECK_OK(snapshots_write_new_at(dir, &snapshot, &err), err);
	snapshot_release(&snapshot);
}

/* A snapshot speaks for its volume in its own place only: a copy of a VM's directory must not claim another's disks. */
static void test_snapshots(void)
{
	static const char other[] = "99999999-0000-4000-8000-000000000000";
	static const char own[] = "11111111-0000-4000-8000-000000000000";
	auto_error err = NULL;
	auto_vm Vm vm = { 0 };
	auto_snapshot Snapshot snapshot = { 0 };
	auto_snapshot_list SnapshotList list = { 0 };
	auto_strv Strv volumes = { 0 };
	auto_free char *dir = NULL;

	open_store();
	write_vm("web");
	CHECK_OK(records_read_vm(&store, "web", &vm, &err), err);
	write_snapshot("web", vm.id, "before", own);
	write_snapshot("web", other, "strange", other);
	CHECK_OK(snapshots_read(&store, &vm, "before", &snapshot, &err), err);
	CHECK_STR(snapshot.id, own);
	CHECK_INT(snapshot.vm_state, VM_PAUSED);
	CHECK_INT(snapshot.consistency, CONSISTENT_FILESYSTEM);
	CHECK_INT(snapshot.disk_size_mib, 8192);
	CHECK_OK(snapshots_list(&store, &vm, &list, &err), err);
	CHECK_INT(list.count, 2);
	CHECK(list.items[0].id && !list.items[1].id);
	dir = store_vm_dir(&store, "web");
	records_read_volumes_at(dir, &volumes);
	CHECK_INT(volumes.count, 2);
	CHECK(strv_has(&volumes, own) && !strv_has(&volumes, other));
	snapshot_release(&snapshot);
	CHECK_FAILS(snapshots_read(&store, &vm, "strange", &snapshot, &err), err, ERR_FAILED);
	error_clear(&err);
	CHECK_FAILS(snapshots_read(&store, &vm, "beforee", &snapshot, &err), err, ERR_NOT_FOUND);
	close_store();
}

static void test_hostile_records(void)
{
	refuse_record("[]", ERR_FAILED);
	refuse_record("{}", ERR_FAILED);
	refuse_record("{\"schema\":2,\"name\":\"a\"}", ERR_UNSUPPORTED);
	refuse_record("{\"schema\":1,\"name\":\"../a\",\"id\":\"x\",\"status\":\"running\"}",
		      ERR_USAGE);
	refuse_record("{\"schema\":1,\"name\":\"a\",\"id\":\"../../etc\",\"status\":\"running\"}",
		      ERR_FAILED);
	refuse_record("{\"schema\":1,\"name\":5}", ERR_FAILED);
}

static void test_op_lock(void)
{
	auto_error err = NULL;
	auto_fd first = -1;
	auto_fd second = -1;

	open_store();
	CHECK_OK(store_lock_op(&store, "vm", "web", &first, &err), err);
	CHECK_FAILS(store_lock_op(&store, "vm", "web", &second, &err), err, ERR_BUSY);
	close_store();
}

TEST_MAIN({ "a record survives the disk", test_round_trip },
	  { "a record knows both names during a rename", test_rename },
	  { "a broken record does not stop the others", test_broken_record },
	  { "a missing vm suggests the nearest name", test_missing_vm_suggests },
	  { "snapshots and whose they are", test_snapshots },
	  { "hostile records are refused", test_hostile_records },
	  { "a record of an older ember", test_older_record },
	  { "one operation a name at a time", test_op_lock });
