#include "hypervisor/kvm_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/mem.h"
#include "util/os.h"

#define PROBE_PATIENCE_MS 1000
#define CPUID_ENTRIES_MAX 256

/* The guest's 64 KiB of memory. */
#define MEMORY_SIZE 0x10000
#define PML4_AT	    0x1000
#define PDPT_AT	    0x2000
#define PD_AT	    0x3000
#define DATA_AT	    0x4000
#define COPY_AT	    0x4010
#define CODE_AT	    0x5000

/* Page table entries: present, writable; a page of 2 MiB. */
#define PTE_TABLE 0x3ULL
#define PTE_LARGE 0x83ULL

#define CR0_PE	       (1ULL << 0)
#define CR0_MP	       (1ULL << 1)
#define CR0_PG	       (1ULL << 31)
#define CR4_PAE	       (1ULL << 5)
#define CR4_OSFXSR     (1ULL << 9)
#define CR4_OSXMMEXCPT (1ULL << 10)
#define EFER_LME       (1ULL << 8)
#define EFER_LMA       (1ULL << 10)
#define RFLAGS_ALWAYS  2

#define POPCNT_OF     0x0f0fULL
#define POPCNT_RESULT 8

static const uint8_t guest_code[] = {
	0xf3, 0x48, 0x0f, 0xb8, 0xd8, /* popcnt %rax, %rbx */
	0xf3, 0x0f, 0x6f, 0x06,	      /* movdqu (%rsi), %xmm0 */
	0xf3, 0x0f, 0x7f, 0x07,	      /* movdqu %xmm0, (%rdi) */
	0xf4,			      /* hlt */
};
static const char guest_data[16] = "ember was here.";

/* How far it came: the exit status of the probing process. */
typedef enum Outcome {
	OUTCOME_RUNS,
	OUTCOME_NO_DEVICE,
	OUTCOME_DENIED,
	OUTCOME_NO_VM,
	OUTCOME_NO_GUEST,
	OUTCOME_HANGS,
} Outcome;

static const char *const outcome_reasons[] = {
	[OUTCOME_NO_DEVICE] = "this host has no /dev/kvm",
	[OUTCOME_DENIED] = "/dev/kvm may not be opened by this user (join its group, often 'kvm')",
	[OUTCOME_NO_VM] = "/dev/kvm is there but refuses to make a VM",
	[OUTCOME_NO_GUEST] = "/dev/kvm is there but cannot run ordinary guests",
	[OUTCOME_HANGS] = "/dev/kvm is there but cannot run ordinary guests: its first one hangs",
};

static int set_registers(int vcpu)
{
	struct kvm_segment code = {
		.limit = UINT32_MAX, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1
	};
	struct kvm_segment data = { .limit = UINT32_MAX,
				    .selector = 16,
				    .type = 3,
				    .present = 1,
				    .s = 1,
				    .db = 1,
				    .g = 1 };
	struct kvm_regs regs = { .rip = CODE_AT,
				 .rsp = MEMORY_SIZE,
				 .rflags = RFLAGS_ALWAYS,
				 .rax = POPCNT_OF,
				 .rsi = DATA_AT,
				 .rdi = COPY_AT };
	struct kvm_sregs sregs;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr3 = PML4_AT;
	sregs.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	sregs.cr0 = CR0_PE | CR0_MP | CR0_PG;
	sregs.efer = EFER_LME | EFER_LMA;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0)
		return -1;
	return ioctl(vcpu, KVM_SET_REGS, &regs);
}

static int set_cpuid(int kvm, int vcpu)
{
	auto_free struct kvm_cpuid2 *cpuid =
		xcalloc(1, sizeof(*cpuid) + CPUID_ENTRIES_MAX * sizeof(cpuid->entries[0]));

	cpuid->nent = CPUID_ENTRIES_MAX;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid) < 0)
		return -1;
	return ioctl(vcpu, KVM_SET_CPUID2, cpuid);
}

static void fill_memory(uint8_t *memory)
{
	uint64_t entry;

	entry = PDPT_AT | PTE_TABLE;
	memcpy(memory + PML4_AT, &entry, sizeof(entry));
	entry = PD_AT | PTE_TABLE;
	memcpy(memory + PDPT_AT, &entry, sizeof(entry));
	entry = PTE_LARGE;
	memcpy(memory + PD_AT, &entry, sizeof(entry));
	memcpy(memory + DATA_AT, guest_data, sizeof(guest_data));
	memcpy(memory + CODE_AT, guest_code, sizeof(guest_code));
}

/* Run it until its hlt; what it computed must be right. */
static Outcome run_guest(int vcpu, struct kvm_run *run, const uint8_t *memory)
{
	struct kvm_regs regs;

	while (ioctl(vcpu, KVM_RUN, 0) < 0)
		if (errno != EINTR)
			return OUTCOME_NO_GUEST;
	if (run->exit_reason != KVM_EXIT_HLT || ioctl(vcpu, KVM_GET_REGS, &regs) < 0 ||
	    regs.rbx != POPCNT_RESULT ||
	    memcmp(memory + COPY_AT, guest_data, sizeof(guest_data)) != 0)
		return OUTCOME_NO_GUEST;
	return OUTCOME_RUNS;
}

/* Runs in a process of its own, whose end frees all that is made here. */
static Outcome try_guest(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, vcpu, run_size;
	struct kvm_userspace_memory_region region = { .memory_size = MEMORY_SIZE };
	struct kvm_run *run;
	uint8_t *memory;

	if (kvm < 0)
		return errno == EACCES || errno == EPERM ? OUTCOME_DENIED : OUTCOME_NO_DEVICE;
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (vm < 0 || run_size < (int)sizeof(*run))
		return OUTCOME_NO_VM;
	memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return OUTCOME_NO_VM;
	fill_memory(memory);
	region.userspace_addr = (uintptr_t)memory;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return OUTCOME_NO_VM;
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		return OUTCOME_NO_VM;
	run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		return OUTCOME_NO_VM;
	if (set_cpuid(kvm, vcpu) < 0 || set_registers(vcpu) < 0)
		return OUTCOME_NO_GUEST;
	return run_guest(vcpu, run, memory);
}

/*
 * The child, which may hang inside the kernel: it must hold nothing of the command, whose locks and
 * pipes would stay with it, and not outlive it.
 */
static _Noreturn void probe_in_child(pid_t parent)
{
	(void)close_range(0, UINT_MAX, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(OUTCOME_NO_GUEST); /* it died before we could ask to die with it */
	_exit(try_guest());
}

static Outcome wait_for_outcome(pid_t pid)
{
	auto_fd fd = os_process_fd(pid);
	struct pollfd gone = { .fd = fd, .events = POLLIN };
	int status, ready;

	do
		ready = poll(&gone, 1, PROBE_PATIENCE_MS);
	while (ready < 0 && errno == EINTR);
	if (ready <= 0) {
		/* A vCPU stuck inside the kernel may not die at once: it is not waited for. */
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, &status, WNOHANG);
		return OUTCOME_HANGS;
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) > OUTCOME_HANGS)
		return OUTCOME_NO_GUEST;
	return (Outcome)WEXITSTATUS(status);
}

int kvm_probe(char **out_reason)
{
	pid_t parent = getpid(), pid;
	Outcome outcome;

	/* The common negative answers need no process. */
	if (access("/dev/kvm", R_OK | W_OK) < 0) {
		outcome = errno == ENOENT ? OUTCOME_NO_DEVICE : OUTCOME_DENIED;
	} else {
		pid = fork();
		if (pid == 0)
			probe_in_child(parent);
		outcome = pid < 0 ? OUTCOME_NO_VM : wait_for_outcome(pid);
	}
	if (outcome == OUTCOME_RUNS)
		return 1;
	*out_reason = xstrdup(outcome_reasons[outcome]);
	return 0;
}
