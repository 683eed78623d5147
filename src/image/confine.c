#include "image/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/mem.h"

#define NOBODY 65534u
#define MAX_MEMORY \
	(6ull << 30)	/* of address space: 8 million entries at 250 bytes, and as much again */
#define MAX_FILES 1024u /* 512 layers, and what else is open */
#define MAX_CPU_S 3600u /* of other programs */

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#endif

/* The sanitizers' runtimes map terabytes, and look at other threads when the program ends. */
#if defined(__SANITIZE_ADDRESS__)
#define IS_INSTRUMENTED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define IS_INSTRUMENTED 1
#endif
#endif
#ifndef IS_INSTRUMENTED
#define IS_INSTRUMENTED 0
#endif

static void limit(int what, rlim_t value)
{
	struct rlimit now;

	if (getrlimit(what, &now) < 0)
		return;
	if (now.rlim_max == RLIM_INFINITY || now.rlim_max > value)
		now.rlim_max = value;
	now.rlim_cur = now.rlim_max;
	(void)setrlimit(what, &now);
}

static int set_capabilities(uint32_t mask)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = mask, .permitted = mask, .inheritable = mask },
	};

	return (int)syscall(SYS_capset, &header, data);
}

/* Become nobody, but with a capability that concerns files, since layouts and disks are often root's own. A user
 * namespace may have no nobody, and a container no right to change: then we stay what we are. */
static int drop_root(unsigned kept_capability, Error **err)
{
	if (geteuid() != 0)
		return 0;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 ||
	    setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return 0;
	if (set_capabilities(1u << kept_capability) < 0 && set_capabilities(0) < 0)
		return error_set_errno(err, errno, "give up root's capabilities");
	return 0;
}

/* Every way to touch a path that the first Landlock knows. */
#define LANDLOCK_ALL                                                      \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |     \
	 LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |     \
	 LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
	 LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |     \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |     \
	 LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |   \
	 LANDLOCK_ACCESS_FS_MAKE_SYM)

#define LANDLOCK_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

/* -1 where the kernel has no Landlock. */
static int make_ruleset(void)
{
	struct landlock_ruleset_attr attr = { .handled_access_fs = LANDLOCK_ALL };

	return (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
}

static void allow_path(int ruleset, int fd, uint64_t access)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = access, .parent_fd = fd };

	if (fd >= 0)
		(void)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

static void restrict_paths(const int *dir_fds, size_t count)
{
	auto_fd ruleset = make_ruleset();

	if (ruleset < 0)
		return;
	for (size_t i = 0; i < count; i++)
		allow_path(ruleset, dir_fds[i], LANDLOCK_READ);
	(void)syscall(SYS_landlock_restrict_self, ruleset, 0);
}

int confine_begin(const int *dir_fds, size_t count, Error **err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_set_errno(err, errno, "refuse new privileges");
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, MAX_FILES);
	if (!IS_INSTRUMENTED)
		limit(RLIMIT_AS, MAX_MEMORY);
	if (drop_root(CAP_DAC_READ_SEARCH, err) < 0)
		return -1;
	/* Not before: the change of user clears it. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	restrict_paths(dir_fds, count);
	return 0;
}

#ifdef NATIVE_ARCH
static const unsigned allowed_calls[] = {
	/* the image and the layers */
	SYS_read,
	SYS_pread64,
	SYS_write,
	SYS_pwrite64,
	SYS_writev,
	SYS_lseek,
	SYS_fallocate,
	SYS_ftruncate,
	SYS_fstat,
	SYS_newfstatat,
	SYS_fcntl,
	SYS_close,
	/* malloc */
	SYS_brk,
	SYS_mmap,
	SYS_munmap,
	SYS_mremap,
	SYS_mprotect,
	SYS_madvise,
	SYS_futex,
	/* time, chance and the end */
	SYS_clock_gettime,
	SYS_gettimeofday,
	SYS_getrandom,
	SYS_rt_sigreturn,
	SYS_rt_sigaction,
	SYS_rt_sigprocmask,
	SYS_restart_syscall,
	SYS_getpid,
	SYS_gettid,
	SYS_tgkill,
	SYS_exit,
	SYS_exit_group,
};

#define MAX_CALLS 64

/* What is not right fails with EPERM, which every caller can take: calls that are (not) on the list, or for another
 * machine. */
static void filter_calls(const unsigned *calls, size_t count, bool allow_them)
{
	struct sock_filter filter[MAX_CALLS + 6];
	const struct sock_filter refuse =
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (EPERM & SECCOMP_RET_DATA));
	const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = { .filter = filter };
	size_t at = 0;

	filter[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						    offsetof(struct seccomp_data, arch));
	filter[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 1, 0);
	filter[at++] = refuse;
	filter[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						    offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < count; i++)
		filter[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i],
							    (uint8_t)(count - i), 0);
	filter[at++] = allow_them ? refuse : allow;
	filter[at++] = allow_them ? allow : refuse;
	program.len = (unsigned short)at;
	(void)prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}
#endif

int confine_finish(Error **err)
{
	if (getuid() == NOBODY && set_capabilities(0) < 0)
		return error_set_errno(err, errno, "give up the last capability");
#ifdef NATIVE_ARCH
	if (!IS_INSTRUMENTED)
		filter_calls(allowed_calls, ARRAY_SIZE(allowed_calls), true);
#endif
	return 0;
}

static void allow_name(int ruleset, const char *path, uint64_t access)
{
	auto_fd fd = open(path, O_PATH | O_CLOEXEC);

	allow_path(ruleset, fd, access);
}

/* The program, other programs and libraries, what the loader and e2fsck read, and the device that takes what nobody wants to
 * hear; no other file of the system's, since what can be read could be written to the disk. */
static void restrict_program(const ProgramNeeds *needs)
{
	static const char *const dirs[] = { "/usr", "/bin", "/sbin", "/lib", "/lib64" };
	static const char *const files[] = { "/etc/ld.so.cache", "/etc/ld.so.preload",
					     "/etc/e2fsck.conf" };
	const uint64_t both = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;
	auto_fd ruleset = make_ruleset();

	if (ruleset < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		allow_name(ruleset, dirs[i], LANDLOCK_READ | LANDLOCK_ACCESS_FS_EXECUTE);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		allow_name(ruleset, files[i], LANDLOCK_ACCESS_FS_READ_FILE);
	allow_name(ruleset, needs->program,
		   LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE);
	allow_name(ruleset, "/dev/null", both);
	allow_path(ruleset, needs->read_fd, LANDLOCK_ACCESS_FS_READ_FILE);
	allow_path(ruleset, needs->write_fd, both);
	(void)syscall(SYS_landlock_restrict_self, ruleset, 0);
}

#ifdef NATIVE_ARCH
/* Other programs need more calls than a list could name; these are ways out, and none of them needs one. */
static const unsigned refused_calls[] = {
	SYS_socket,
	SYS_connect,
	SYS_ptrace,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_mount,
	SYS_umount2,
	SYS_unshare,
	SYS_setns,
	SYS_bpf,
	SYS_perf_event_open,
	SYS_userfaultfd,
	SYS_keyctl,
	SYS_add_key,
	SYS_io_uring_setup,
	SYS_kill,
};
#endif

static void limit_program(uint64_t max_bytes)
{
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, MAX_FILES);
	limit(RLIMIT_AS, MAX_MEMORY);
	limit(RLIMIT_CPU, MAX_CPU_S);
	limit(RLIMIT_FSIZE, max_bytes);
	/* Past that size: an error, no signal. */
	(void)signal(SIGXFSZ, SIG_IGN);
}

int confine_program(const ProgramNeeds *needs, Error **err)
{
	unsigned kept = needs->is_privileged ? CAP_DAC_OVERRIDE : CAP_DAC_READ_SEARCH;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_set_errno(err, errno, "refuse new privileges");
	limit_program(needs->max_bytes);
	/* Where there is no right to write, the file becomes nobody's before we are. */
	if (needs->write_fd >= 0 && !needs->is_privileged && geteuid() == 0)
		(void)fchown(needs->write_fd, NOBODY, NOBODY);
	if (drop_root(kept, err) < 0)
		return -1;
	/* What is ambient outlives the execve(), and is all that does. */
	if (getuid() == NOBODY && (needs->read_fd >= 0 || needs->is_privileged))
		(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, kept, 0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	restrict_program(needs);
#ifdef NATIVE_ARCH
	filter_calls(refused_calls, ARRAY_SIZE(refused_calls), false);
#endif
	return 0;
}
