#include "storage/mounted.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include "util/mem.h"

int mount_state(const char *dir, long magic, MountState *out_state, Error **err)
{
	struct statx info;
	struct statfs fs;

	/* No AT_STATX flag triggers an automount, and no other thing than a mount root will do: a
	 * btrfs subvolume has a device number of its own as well. */
	if (statx(AT_FDCWD, dir, AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW, STATX_TYPE, &info) < 0) {
		/* Only an XFS that has shut down answers so: plain directories do not. */
		if (errno != ENOENT && errno != EIO)
			return error_set_errno(err, errno, "look at '%s'", dir);
		*out_state = errno == EIO ? MOUNT_FAILED : MOUNT_NONE;
		return 0;
	}
	if (!(info.stx_attributes & STATX_ATTR_MOUNT_ROOT)) {
		*out_state = MOUNT_NONE;
		return 0;
	}
	if (statfs(dir, &fs) < 0)
		return error_set_errno(err, errno, "look at the filesystem of '%s'", dir);
	if ((long)fs.f_type != magic)
		*out_state = MOUNT_OTHER;
	else
		/* It was mounted to be written to. */
		*out_state = (fs.f_flags & ST_RDONLY) ? MOUNT_FAILED : MOUNT_OURS;
	return 0;
}

int mount_find(const char *source, const char *dir, char **out_dir, Error **err)
{
	FILE *table = setmntent("/proc/self/mounts", "re");
	const struct mntent *entry;

	if (!table)
		return error_set_errno(err, errno, "read /proc/self/mounts");
	while ((entry = getmntent(table)) != NULL)
		if (!strcmp(entry->mnt_fsname, source) && strcmp(entry->mnt_dir, dir) != 0)
			break;
	if (entry)
		*out_dir = xstrdup(entry->mnt_dir);
	(void)endmntent(table);
	return entry != NULL;
}

int mount_probe(const char *filesystem, char **out_reason)
{
	/* A character device cannot be the source: the answer of a kernel that could is ENOTBLK. */
	if (mount("/dev/null", "/", filesystem, MS_RDONLY, NULL) == 0 || errno == ENOTBLK)
		return 1;
	if (errno == ENODEV)
		*out_reason = xasprintf("the kernel has no %s", filesystem);
	else if (errno == EPERM)
		*out_reason = xasprintf("mounting is not permitted here");
	else
		*out_reason = xasprintf("%s cannot be mounted: %s", filesystem, strerror(errno));
	return 0;
}

int mount_private(const char *source, const char *dir, const char *filesystem, const char *options,
		  Error **err)
{
	if (mount(source, dir, filesystem, MS_NOATIME | MS_NODEV | MS_NOSUID | MS_NOEXEC, options) <
	    0)
		return error_set_errno(err, errno, "mount '%s' on '%s'", source, dir);
	if (mount(NULL, dir, NULL, MS_PRIVATE | MS_REC, NULL) < 0) {
		error_set_errno(err, errno, "make the mount '%s' private", dir);
		(void)umount2(dir, MNT_DETACH);
		return -1;
	}
	return 0;
}

int mount_remove(const char *dir, long magic, Error **err)
{
	for (;;) {
		MountState state;

		if (mount_state(dir, magic, &state, err) < 0)
			return -1;
		if (state != MOUNT_OURS && state != MOUNT_FAILED)
			return 0;
		if (umount2(dir, UMOUNT_NOFOLLOW) == 0)
			continue;
		if (errno == EBUSY) {
			error_set(err, ERR_BUSY, "the store '%s' is in use", dir);
			return error_hint(err, "see by whom: fuser -vm '%s'", dir);
		}
		return error_set_errno(err, errno, "unmount '%s'", dir);
	}
}
