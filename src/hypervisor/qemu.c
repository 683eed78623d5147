/*
 * QEMU's microvm machine: the command line, and what must be true of the host for it.
 *
 * Every odd word of the line has a reason, found by measuring:
 *  - pic=off,pit=off: with ACPI on, the emulated interrupt controller and timer make most boots
 *    panic early; rtc=on: without it the kernel waits two seconds for one; acpi=on: without it
 *    poweroff hangs.
 *  - under TCG the kernel is told the speed of its time stamp counter (tsc.h), which it could not
 *    measure, and the translation cache is bounded: 310 MB of memory instead of 760.
 *  - an entropy device: without it the guest's first random numbers take seconds.
 *  - the RAM is a memfd: nothing to clean up, and shareable.
 *  - no -daemonize: it does not survive the sandbox, and the keeper is a better parent.
 */
#include "hypervisor/qemu.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/kvm_probe.h"
#include "hypervisor/tsc.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

#define QEMU_PROGRAM	   "qemu-system-x86_64"
#define AGENT_PORT	   "org.ember.agent"
#define GUEST_INIT	   "/usr/lib/ember/ember-guest"
#define TCG_CACHE_MIB	   128
#define MEMORY_MIB_MIN	   96
#define COMMAND_LINE_MAX   2047 /* COMMAND_LINE_SIZE of x86 kernels, with the final NUL */
#define VERSION_TIMEOUT_MS 10000

static int find_program(char **out_program, char **out_reason)
{
	if (strcmp(os_machine(), "x86_64") != 0) {
		*out_reason = xasprintf("its microvm machine needs an x86_64 host, this is %s",
					os_machine());
		return 0;
	}
	*out_program = program_find(QEMU_PROGRAM);
	if (!*out_program) {
		*out_reason = xstrdup(QEMU_PROGRAM " is not installed");
		return 0;
	}
	return 1;
}

/* "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7...)" -> "7.2.22" */
static int read_version(const char *program, char **out_version, Error **err)
{
	static const char before[] = " version ";
	auto_command Command cmd = { 0 };
	const char *at;

	command_init(&cmd, program, "-version", NULL);
	cmd.capture = true;
	if (command_run(&cmd, deadline_in_ms(VERSION_TIMEOUT_MS), err) < 0)
		return -1;
	at = strstr(strbuf_str(&cmd.output), before);
	if (!at)
		return error_set(err, ERR_FAILED, "'%s -version' does not tell its version",
				 program);
	at += strlen(before);
	*out_version = str_make_printable(xstrndup(at, strcspn(at, " \n")));
	return 0;
}

static int qemu_probe(bool want_version, HypervisorInfo *out_info, char **out_reason, Error **err)
{
	auto_hypervisor_info HypervisorInfo info = { 0 };
	int found = find_program(&info.program, out_reason);

	if (found <= 0)
		return found;
	if (want_version && read_version(info.program, &info.version, err) < 0)
		return -1;
	info.accelerator = xstrdup(kvm_probe(&info.accelerator_reason) ? "kvm" : "tcg");
	*out_info = info;
	info = (HypervisorInfo){ 0 };
	return 1;
}

/* QEMU's option parser ends a value at a comma; a doubled comma is one. Owned. */
static char *escape(const char *text)
{
	Strbuf sb = { 0 };

	for (; *text; text++) {
		strbuf_addc(&sb, *text);
		if (*text == ',')
			strbuf_addc(&sb, ',');
	}
	return strbuf_take(&sb);
}

static void add(Strv *argv, const char *option, const char *value)
{
	strv_push(argv, option);
	strv_push(argv, value);
}

PRINTF(3, 4) static void addf(Strv *argv, const char *option, const char *fmt, ...)
{
	va_list args;

	strv_push(argv, option);
	va_start(args, fmt);
	strv_push_take(argv, xvasprintf(fmt, args));
	va_end(args);
}

static int check_bounds(const Vm *vm, Error **err)
{
	long host_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t host_bytes;

	if (vm->cpus < 1 || (host_cpus > 0 && vm->cpus > (unsigned long)host_cpus)) {
		error_set(err, ERR_USAGE, "vm '%s' has %u cpus, this host can run 1 to %ld",
			  vm->name, vm->cpus, host_cpus);
		return error_hint(err, "give it fewer: ember vm update-config %s --cpus %ld",
				  vm->name, host_cpus);
	}
	if (vm->memory_mib < MEMORY_MIB_MIN) {
		error_set(err, ERR_USAGE, "vm '%s' has %llu MiB of memory, too few to boot",
			  vm->name, (unsigned long long)vm->memory_mib);
		return error_hint(err, "give it more: ember vm update-config %s --memory %dM",
				  vm->name, MEMORY_MIB_MIN);
	}
	if (os_memory_bytes(&host_bytes) == 0 && vm->memory_mib > host_bytes >> 20) {
		error_set(err, ERR_USAGE, "vm '%s' has %llu MiB of memory, this host has %llu",
			  vm->name, (unsigned long long)vm->memory_mib,
			  (unsigned long long)(host_bytes >> 20));
		return error_hint(err, "give it less: ember vm update-config %s --memory %lluM",
				  vm->name, (unsigned long long)(host_bytes >> 21));
	}
	return 0;
}

static void add_machine(Strv *argv, const LaunchRequest *request, bool is_kvm)
{
	const Vm *vm = request->vm;
	unsigned long long memory_mib = vm->memory_mib;

	addf(argv, "-name", "ember-%s-%s", request->instance_id, vm->id);
	strv_push(argv, "-nodefaults");
	strv_push(argv, "-no-user-config");
	strv_push(argv, "-no-reboot");
	add(argv, "-display", "none");
	add(argv, "-sandbox",
	    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	if (is_kvm)
		add(argv, "-accel", "kvm");
	else
		addf(argv, "-accel", "tcg,thread=multi,tb-size=%d", TCG_CACHE_MIB);
	add(argv, "-cpu", is_kvm ? "host" : "max");
	addf(argv, "-smp", "%u", vm->cpus);
	addf(argv, "-m", "%lluM", memory_mib);
	addf(argv, "-object", "memory-backend-memfd,id=ram,size=%lluM,share=on", memory_mib);
	add(argv, "-M", "microvm,acpi=on,pic=off,pit=off,rtc=on,memory-backend=ram");
	add(argv, "-global", "virtio-mmio.force-legacy=false");
}

/* The image lock of QEMU (OFD locks) refuses a disk that another hypervisor has open. */
static void add_disk(Strv *argv, const StorageDisk *disk)
{
	auto_free char *path = escape(disk->path);

	addf(argv, "-blockdev",
	     "driver=%s,node-name=disk0,discard=unmap,detect-zeroes=unmap,file.driver=%s,"
	     "file.filename=%s,file.locking=%s,file.aio=threads",
	     disk->format == DISK_QCOW2 ? "qcow2" : "raw", disk->is_device ? "host_device" : "file",
	     path, disk->is_device ? "auto" : "on");
	/* A write that the host does not take stops the guest, which never learns of it and is none
	 * the worse: it would take it for a broken disk. A bad block under a read is its own affair. */
	add(argv, "-device", "virtio-blk-device,drive=disk0,werror=stop,rerror=report");
}

static void add_network(Strv *argv, const NetworkPlan *network)
{
	if (!network->has_nic)
		return;
	addf(argv, "-netdev", "%s,id=net0", network->qemu_netdev);
	addf(argv, "-device", "virtio-net-device,netdev=net0,mac=%s", network->record.guest_mac);
}

static void add_channels(Strv *argv, const LaunchRequest *request)
{
	auto_free char *console = path_join(request->vm_dir, "console.log");
	auto_free char *console_value = escape(console);

	add(argv, "-device", "virtio-rng-device");
	addf(argv, "-chardev", "socket,id=agent,fd=%d,server=on,wait=off", LAUNCH_AGENT_FD);
	add(argv, "-device", "virtio-serial-device");
	add(argv, "-device", "virtserialport,chardev=agent,name=" AGENT_PORT);
	addf(argv, "-chardev", "socket,id=monitor,fd=%d,server=on,wait=off", LAUNCH_CONTROL_FD);
	add(argv, "-mon", "chardev=monitor,mode=control");
	addf(argv, "-chardev", "file,id=console,path=%s,append=on", console_value);
	add(argv, "-serial", "chardev:console");
}

/* Without a network card the name of the guest still travels in ip= (the kernel's nfsroot.rst). */
static void add_ip(Strbuf *line, const LaunchRequest *request)
{
	if (request->network->has_nic && request->network->ip_arg)
		strbuf_addf(line, " %s", request->network->ip_arg);
	else
		strbuf_addf(line, " ip=::::%s::off", request->vm->name);
}

/* A word of the kernel's command line: what could end or quote it is percent-encoded. */
static void add_encoded(Strbuf *line, const char *name, const char *value)
{
	strbuf_addf(line, " %s=", name);
	for (; *value; value++)
		if (isalnum((unsigned char)*value) || strchr("_./:=,@+-", *value))
			strbuf_addc(line, *value);
		else
			strbuf_addf(line, "%%%02x", (unsigned char)*value);
}

/* The image's own command, which the guest's first program runs (guest/command.h). */
static void add_command(Strbuf *line, const Vm *vm)
{
	if (!vm->run_cmd)
		return;
	strbuf_adds(line, " ember.run=1");
	if (!str_is_empty(vm->user))
		add_encoded(line, "ember.user", vm->user);
	for (size_t i = 0; i < vm->run_env.count; i++)
		add_encoded(line, "ember.env", vm->run_env.items[i]);
}

static int add_kernel(Strv *argv, const LaunchRequest *request, bool is_kvm, Error **err)
{
	auto_strbuf Strbuf line = { 0 };
	const Vm *vm = request->vm;
	uint64_t khz;

	strbuf_adds(&line, "root=/dev/vda rw rootfstype=ext4 init=" GUEST_INIT);
	add_ip(&line, request);
	/* The kernel's self-tests of its ciphers take a tenth of an emulated boot. */
	strbuf_addf(&line, " ember.id=%s console=ttyS0 quiet cryptomgr.notests panic=-1 reboot=t",
		    vm->id);
	if (!is_kvm) {
		if (tsc_khz(request->cache_dir, &khz, err) < 0)
			return -1;
		strbuf_addf(&line, " tsc_early_khz=%llu tsc=reliable", (unsigned long long)khz);
	}
	add_command(&line, vm);
	if (!str_is_empty(vm->boot_args))
		strbuf_addf(&line, " %s", vm->boot_args);
	if (line.len > COMMAND_LINE_MAX) {
		error_set(err, ERR_USAGE,
			  "the boot arguments of vm '%s' are too long: a kernel takes %d bytes, "
			  "these make %zu",
			  vm->name, COMMAND_LINE_MAX, line.len);
		return error_hint(err, "shorten them%s: ember vm update-config %s --boot-args TEXT",
				  vm->run_cmd ? ", or what --env gives to its command" : "",
				  vm->name);
	}
	add(argv, "-kernel", request->kernel->path);
	if (request->kernel->initrd)
		add(argv, "-initrd", request->kernel->initrd);
	add(argv, "-append", strbuf_str(&line));
	return 0;
}

static void fill_plan(const LaunchRequest *request, const char *accelerator, LaunchPlan *plan)
{
	plan->vm_name = xstrdup(request->vm->name);
	plan->vm_id = xstrdup(request->vm->id);
	plan->driver = xstrdup("qemu");
	plan->hypervisor = xstrdup("qemu");
	plan->accelerator = xstrdup(accelerator);
	plan->state_dir = xstrdup(request->state_dir);
	plan->vm_dir = xstrdup(request->vm_dir);
	plan->run_dir = xstrdup(request->run_dir);
	plan->control_socket = path_join(request->run_dir, "qmp.sock");
	plan->agent_socket = path_join(request->run_dir, "agent.sock");
	plan->keeper_socket = path_join(request->run_dir, "keeper.sock");
}

static int qemu_plan(const LaunchRequest *request, LaunchPlan *out_plan, Error **err)
{
	auto_launch_plan LaunchPlan plan = { 0 };
	auto_free char *program = NULL;
	auto_free char *reason = NULL;
	auto_free char *no_kvm = NULL;
	bool is_kvm;

	if (find_program(&program, &reason) <= 0) {
		auto_free char *hint = program_install_hint(QEMU_PROGRAM);

		error_set(err, ERR_MISSING_TOOL, "hypervisor 'qemu' cannot be used: %s", reason);
		return error_hint(err, "%s", hint);
	}
	if (check_bounds(request->vm, err) < 0)
		return -1;
	is_kvm = kvm_probe(&no_kvm) == 1;
	fill_plan(request, is_kvm ? "kvm" : "tcg", &plan);
	strv_push(&plan.argv, program);
	add_machine(&plan.argv, request, is_kvm);
	if (add_kernel(&plan.argv, request, is_kvm, err) < 0)
		return -1;
	add_disk(&plan.argv, request->disk);
	add_network(&plan.argv, request->network);
	add_channels(&plan.argv, request);
	*out_plan = plan;
	plan = (LaunchPlan){ 0 };
	return 0;
}

typedef struct Search {
	const char *name; /* ember-INST-UUID */
	pid_t pid;
} Search;

static bool visit_process(const OsProcess *process, void *arg)
{
	Search *search = arg;

	if (strcmp(path_basename(process->argv.items[0]), QEMU_PROGRAM) != 0 ||
	    !str_equal(os_process_option(process, "-name"), search->name))
		return true;
	search->pid = process->pid;
	return false;
}

static int qemu_find_process(const char *instance_id, const char *vm_id, ProcId *out_id,
			     Error **err)
{
	auto_free char *name = xasprintf("ember-%s-%s", instance_id, vm_id);
	Search search = { .name = name };
	ProcId id;

	if (os_process_scan(visit_process, &search, err) < 0)
		return -1;
	/* It may have ended since it was seen. */
	if (search.pid == 0 || proc_identify(search.pid, &id, NULL) < 0)
		return 0;
	*out_id = id;
	return 1;
}

const HypervisorBackend qemu_hypervisor = {
	.name = "qemu",
	.summary = "QEMU microvm, with KVM or in software",
	.probe = qemu_probe,
	.plan = qemu_plan,
	.find_process = qemu_find_process,
};
