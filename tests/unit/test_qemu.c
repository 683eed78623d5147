#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "hypervisor/qemu.h"
#include "hypervisor/tsc.h"
#include "util/fs.h"
#include "util/mem.h"

#define VM_ID "11111111-2222-4333-8444-555555555555"

static char dir[] = "/tmp/ember-test-qemu-XXXXXX";

/* A request that can be planned; its parts live as long as the test. */
static Vm vm;
static Kernel kernel;
static NetworkPlan network;
static StorageDisk disk;
static LaunchRequest request;

static char vm_name[] = "web", vm_id[] = VM_ID, disk_path[] = "/pool/a,b.raw";
static char kernel_path[] = "/k/vmlinux", initrd_path[] = "/k/initrd";
static char netdev[] = "user,restrict=off", guest_mac[] = "52:54:00:00:00:01";
static char ip_arg[] = "ip=10.0.2.15::10.0.2.2:255.255.255.0:web:eth0:off";
static char boot_words[] = "debug x=\"1, 2\"", user[] = "me:1";

static void set_up(void)
{
	vm = (Vm){
		.name = vm_name,
		.id = vm_id,
		.cpus = 1,
		.memory_mib = 256,
	};
	disk = (StorageDisk){ .path = disk_path };
	kernel = (Kernel){ .path = kernel_path, .initrd = initrd_path };
	network = (NetworkPlan){ .has_nic = true, .qemu_netdev = netdev, .ip_arg = ip_arg };
	network.record.guest_mac = guest_mac;
	request = (LaunchRequest){
		.vm = &vm,
		.kernel = &kernel,
		.network = &network,
		.disk = &disk,
		.instance_id = "abcd",
		.state_dir = "/state",
		.vm_dir = "/state/vms/web",
		.run_dir = "/run/x",
		.cache_dir = dir,
	};
}

/* The value behind an option, from its `nth` use (0 the first). */
static const char *value_of(const LaunchPlan *plan, const char *option, unsigned nth)
{
	for (size_t i = 0; i + 1 < plan->argv.count; i++)
		if (!strcmp(plan->argv.items[i], option) && nth-- == 0)
			return plan->argv.items[i + 1];
	return NULL;
}

static void test_line(void)
{
	auto_launch_plan LaunchPlan plan = { 0 };
	auto_error err = NULL;
	const char *append;

	set_up();
	CHECK_OK(qemu_hypervisor.plan(&request, &plan, &err), err);
	CHECK_STR(plan.driver, "qemu");
	CHECK_STR(plan.control_socket, "/run/x/qmp.sock");
	CHECK_CONTAINS(plan.argv.items[0], "/qemu-system-x86_64");
	CHECK_STR(value_of(&plan, "-name", 0), "ember-abcd-" VM_ID);
	CHECK_STR(value_of(&plan, "-M", 0),
		  "microvm,acpi=on,pic=off,pit=off,rtc=on,memory-backend=ram");
	CHECK_STR(value_of(&plan, "-object", 0), "memory-backend-memfd,id=ram,size=256M,share=on");
	CHECK_CONTAINS(value_of(&plan, "-blockdev", 0), "file.filename=/pool/a,,b.raw,");
	CHECK_STR(value_of(&plan, "-netdev", 0), "user,restrict=off,id=net0");
	append = value_of(&plan, "-append", 0);
	CHECK_CONTAINS(append, "init=/usr/lib/ember/ember-guest");
	CHECK_CONTAINS(append, " ip=10.0.2.15::");
	CHECK_CONTAINS(append, " ember.id=" VM_ID " ");
	if (!strcmp(plan.accelerator, "tcg")) {
		CHECK_STR(value_of(&plan, "-accel", 0), "tcg,thread=multi,tb-size=128");
		CHECK_CONTAINS(append, " tsc_early_khz=");
	} else {
		CHECK(!strstr(append, "tsc"));
	}
}

static void test_no_network(void)
{
	auto_launch_plan LaunchPlan plan = { 0 };
	auto_error err = NULL;

	set_up();
	network = (NetworkPlan){ 0 };
	vm.boot_args = boot_words;
	CHECK_OK(qemu_hypervisor.plan(&request, &plan, &err), err);
	CHECK(!value_of(&plan, "-netdev", 0));
	CHECK_CONTAINS(value_of(&plan, "-append", 0), " ip=::::web::off ");
	CHECK(str_ends_with(value_of(&plan, "-append", 0), " debug x=\"1, 2\""));
}

static void test_command(void)
{
	auto_launch_plan LaunchPlan plan = { 0 }, quiet = { 0 };
	auto_error err = NULL;
	const char *append;

	set_up();
	vm.user = user;
	strv_push(&vm.run_env, "A=1 \"x\"\t100%");
	strv_push(&vm.run_env, "B=\u00e9/_.:=,@+-");
	CHECK_OK(qemu_hypervisor.plan(&request, &quiet, &err), err);
	CHECK(!strstr(value_of(&quiet, "-append", 0), "ember.run"));
	CHECK(!strstr(value_of(&quiet, "-append", 0), "ember.env"));
	vm.run_cmd = true;
	CHECK_OK(qemu_hypervisor.plan(&request, &plan, &err), err);
	append = value_of(&plan, "-append", 0);
	CHECK_CONTAINS(append, " ember.run=1 ember.user=me:1 ");
	CHECK_CONTAINS(append, " ember.env=A=1%20%22x%22%09100%25 ember.env=B=%c3%a9/_.:=,@+-");
	strv_release(&vm.run_env);
}

static void test_bounds(void)
{
	LaunchPlan plan = { 0 };
	auto_error err = NULL;
	char boot_args[3000];

	set_up();
	vm.cpus = 0;
	CHECK_FAILS(qemu_hypervisor.plan(&request, &plan, &err), err, ERR_USAGE);
	vm.cpus = 100000;
	CHECK(qemu_hypervisor.plan(&request, &plan, &err) < 0);
	CHECK_CONTAINS(error_hint_text(err), "ember vm update-config web --cpus ");
	error_clear(&err);
	vm.cpus = 1;
	vm.memory_mib = 8;
	CHECK_FAILS(qemu_hypervisor.plan(&request, &plan, &err), err, ERR_USAGE);
	vm.memory_mib = 1ULL << 40;
	CHECK_FAILS(qemu_hypervisor.plan(&request, &plan, &err), err, ERR_USAGE);
	vm.memory_mib = 256;
	memset(boot_args, 'x', sizeof(boot_args) - 1);
	boot_args[sizeof(boot_args) - 1] = '\0';
	vm.boot_args = boot_args;
	CHECK_FAILS(qemu_hypervisor.plan(&request, &plan, &err), err, ERR_USAGE);
}

static void test_missing(void)
{
	auto_free char *path = xstrdup(getenv("PATH"));
	auto_free char *reason = NULL;
	HypervisorInfo info = { 0 };
	LaunchPlan plan = { 0 };
	auto_error err = NULL;

	set_up();
	(void)setenv("PATH", "/nowhere", 1);
	CHECK_INT(qemu_hypervisor.probe(false, &info, &reason, &err), 0);
	CHECK_CONTAINS(reason, "not installed");
	CHECK(qemu_hypervisor.plan(&request, &plan, &err) < 0);
	CHECK_CONTAINS(error_hint_text(err), "apt-get install");
	CHECK_INT(error_code(err), ERR_MISSING_TOOL);
	(void)setenv("PATH", path, 1);
}

static void test_probe(void)
{
	auto_hypervisor_info HypervisorInfo info = { 0 };
	auto_free char *reason = NULL;
	auto_error err = NULL;

	CHECK_INT(qemu_hypervisor.probe(true, &info, &reason, &err), 1);
	CHECK_STR(info.version, "9.8.7");
	CHECK(!strcmp(info.accelerator, "kvm") == !info.accelerator_reason);
}

static void test_tsc(void)
{
	auto_error err = NULL;
	auto_free char *path = path_join(dir, "tsc-khz");
	uint64_t first, second;

	CHECK_OK(tsc_khz(dir, &first, &err), err);
	CHECK_OK(tsc_khz(dir, &second, &err), err);
	CHECK_INT(first, second);
	/* A cache of another boot, or garbage, is not believed. */
	CHECK_OK(fs_write_atomic(path, "other 5\n", 8, 0600, false, &err), err);
	CHECK_OK(tsc_khz(dir, &second, &err), err);
	CHECK(second > first / 2 && second < first * 2);
}

static void test_find_none(void)
{
	ProcId id = { 0 };
	auto_error err = NULL;

	CHECK_INT(qemu_hypervisor.find_process("zzzz", VM_ID, &id, &err), 0);
}

static void test_clean_up(void)
{
	auto_error err = NULL;

	CHECK_OK(fs_remove_tree(dir, &err), err);
}

/* A program that looks like QEMU comes first on PATH. */
static int install_fake(void)
{
	static const char script[] = "#!/bin/sh\necho 'QEMU emulator version 9.8.7 (Fake)'\n";
	auto_free char *program = path_join(dir, "qemu-system-x86_64");
	auto_free char *path = xasprintf("%s:%s", dir, getenv("PATH"));

	(void)setenv("PATH", path, 1);
	return fs_write_atomic(program, script, strlen(script), 0700, false, NULL);
}

int main(void)
{
	static const Test tests[] = {
		{ "the line", test_line },
		{ "no network, own boot arguments", test_no_network },
		{ "the image's own command", test_command },
		{ "bounds", test_bounds },
		{ "QEMU is missing", test_missing },
		{ "probe", test_probe },
		{ "time stamp counter", test_tsc },
		{ "no process is found where none runs", test_find_none },
		{ "clean up", test_clean_up },
	};

	if (!mkdtemp(dir) || install_fake() < 0)
		return EXIT_FAILURE;
	return test_main(tests, ARRAY_SIZE(tests));
}
