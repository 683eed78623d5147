#include "test.h"

#include <unistd.h>

#include "model/uuid.h"
#include "state/records.h"
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

static void refuse_record(const char *text, ErrorCode code)
{
	auto_error err = NULL;
	json_auto_t *doc = NULL;
	auto_vm Vm vm = { 0 };

	CHECK_OK(json_parse_text(text, strlen(text), &doc, &err), err);
	CHECK_FAILS(vm_from_json(doc, &vm, &err), err, code);
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
	  { "a broken record does not stop the others", test_broken_record },
	  { "a missing vm suggests the nearest name", test_missing_vm_suggests },
	  { "hostile records are refused", test_hostile_records },
	  { "one operation a name at a time", test_op_lock });
