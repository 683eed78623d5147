/*
 * ember-boot: /init of the initramfs that goes with kernels whose virtio drivers are modules.
 *
 * Loads the modules named in /modules/order (one file name per line, below /modules, dependencies
 * first), mounts root=, and runs init= from there. It is silent when all goes well; otherwise it
 * says one sentence on the console and resets the machine, so that the hypervisor ends.
 *
 * Command line: root=/dev/NAME [rootfstype=ext4] [ro|rw] [rootflags=...] [init=/sbin/init].
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base.h"
#include "cmdline.h"
#include "uevent.h"

/* Emulated machines on a busy host are slow; a device that is not there never comes. */
#define ROOT_PATIENCE_MS 30000
#define NEW_ROOT	 "/root"
#define MODULES		 "/modules"

const char program_name[] = "ember-boot";

typedef struct Boot {
	char root[256], type[64], flags[512], init[256];
	unsigned long mount_flags;
	char module_trouble[300]; /* the first module that did not load, or empty */
} Boot;

static void __attribute__((noreturn)) give_up(void)
{
	sync();
	(void)reboot(RB_AUTOBOOT);
	for (;;)
		(void)pause();
}

#define fail(...)                      \
	do {                           \
		complain(__VA_ARGS__); \
		give_up();             \
	} while (0)

static void mount_kernel_filesystems(void)
{
	static const struct {
		const char *type, *at;
		unsigned long flags;
	} table[] = {
		{ "proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "devtmpfs", "/dev", MS_NOSUID },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		(void)mkdir(table[i].at, 0755);
		/* EBUSY: a kernel that mounts /dev by itself. */
		if (mount(table[i].type, table[i].at, table[i].type, table[i].flags, NULL) < 0 &&
		    errno != EBUSY)
			fail("cannot mount %s: %s", table[i].at, strerror(errno));
	}
}

static void read_command_line(Boot *boot)
{
	char line[CMDLINE_MAX];

	if (read_text("/proc/cmdline", line, sizeof(line)) < 0)
		fail("cannot read /proc/cmdline: %s", strerror(errno));
	if (!cmdline_value(line, "root", boot->root, sizeof(boot->root)))
		fail("the kernel command line has no root=");
	if (strncmp(boot->root, "/dev/", 5) != 0)
		fail("root=%s is not supported, only root=/dev/NAME", boot->root);
	(void)cmdline_value(line, "rootfstype", boot->type, sizeof(boot->type));
	(void)cmdline_value(line, "rootflags", boot->flags, sizeof(boot->flags));
	(void)cmdline_value(line, "init", boot->init, sizeof(boot->init));
	if (cmdline_has(line, "ro") && !cmdline_has(line, "rw"))
		boot->mount_flags |= MS_RDONLY;
}

static int load_module(const char *path)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	return (int)syscall(SYS_finit_module, fd, "", 0);
}

/*
 * A module that fails is not yet a failure (drivers refuse machines without their hardware); it is
 * remembered for the sentence that explains a missing root. Files are removed as they are used: the
 * initramfs is memory.
 */
static void load_modules(Boot *boot)
{
	FILE *order = fopen(MODULES "/order", "re");
	char name[200], path[256];

	if (!order)
		return;
	while (fgets(name, sizeof(name), order)) {
		name[strcspn(name, "\n")] = '\0';
		if (name[0] == '\0')
			continue;
		(void)snprintf(path, sizeof(path), MODULES "/%s", name);
		if (load_module(path) < 0 && errno != EEXIST && boot->module_trouble[0] == '\0')
			(void)snprintf(boot->module_trouble, sizeof(boot->module_trouble),
				       " (module %s: %s)", name, strerror(errno));
		(void)unlink(path);
	}
	(void)fclose(order);
	(void)unlink(MODULES "/order");
	(void)rmdir(MODULES);
}

static void wait_for_root(const Boot *boot, int events)
{
	uint64_t deadline = now_ms() + ROOT_PATIENCE_MS;
	struct stat status;

	while (stat(boot->root, &status) < 0 || !S_ISBLK(status.st_mode))
		if (!uevent_wait(events, deadline))
			fail("the root disk %s did not appear within %d seconds%s", boot->root,
			     ROOT_PATIENCE_MS / 1000, boot->module_trouble);
}

static void mount_root(const Boot *boot)
{
	(void)mkdir(NEW_ROOT, 0755);
	if (mount(boot->root, NEW_ROOT, boot->type, boot->mount_flags, boot->flags) < 0)
		fail("cannot mount %s as %s: %s%s", boot->root, boot->type, strerror(errno),
		     boot->module_trouble);
}

/* Take /dev, /proc and /sys along, free what is left of the initramfs, and make NEW_ROOT the root.
 */
static void switch_root(const Boot *boot)
{
	static const char *const moves[] = { "/dev", "/proc", "/sys" };
	char target[64];

	for (size_t i = 0; i < ARRAY_SIZE(moves); i++) {
		(void)snprintf(target, sizeof(target), NEW_ROOT "%s", moves[i]);
		(void)mkdir(target, 0755);
		if (mount(moves[i], target, NULL, MS_MOVE, NULL) < 0)
			(void)umount2(moves[i], MNT_DETACH); /* a read-only root without it */
	}
	(void)unlink("/init");
	if (chdir(NEW_ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		fail("cannot switch to the root on %s: %s", boot->root, strerror(errno));
}

int main(void)
{
	Boot boot = { .type = "ext4", .init = "/sbin/init" };
	int events;

	umask(022);
	mount_kernel_filesystems();
	read_command_line(&boot);
	events = uevent_open(); /* before the drivers, so that no announcement is missed */
	if (events < 0)
		fail("cannot listen for devices: %s", strerror(errno));
	load_modules(&boot);
	wait_for_root(&boot, events);
	close_fd(&events);
	mount_root(&boot);
	switch_root(&boot);
	become_init(boot.init);
	fail("cannot run %s on %s: %s", boot.init, boot.root, strerror(errno));
}
