#include "storage/zvol.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "util/cancel.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"
#include "util/str.h"

#define ZVOL_DIR "/dev/zvol"
/* Of ZFS's include/sys/fs/zfs.h: the name of the volume behind an open zvol. */
#define ZVOL_NAME_MAX 256
#define BLKZNAME      _IOR(0x12, 125, char[ZVOL_NAME_MAX])
/* A directory on the way to the node may come and go between a look and the watch. */
#define LOOK_AGAIN_MS 100

char *zvol_path(const char *dataset, const char *volume)
{
	const char *dir = getenv("EMBER_ZVOL_DIR");

	return xasprintf("%s/%s/%s", str_is_empty(dir) ? ZVOL_DIR : dir, dataset, volume);
}

/* udev lags behind: a link may still lead to a device number that has gone to another volume. */
bool zvol_is_there(const char *path, const char *name, bool *out_is_device)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char found[ZVOL_NAME_MAX + 1] = "";
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return false;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKZNAME, found) == 0 && strcmp(found, name) != 0)
		return false;
	if (out_is_device)
		*out_is_device = S_ISBLK(st.st_mode);
	return true;
}

/* The lowest directory above it that is there: something will appear in it. */
static int watch_above(const char *path)
{
	auto_free char *dir = path_dirname(path);

	while (!fs_exists(dir) && strcmp(dir, "/") != 0 && strcmp(dir, ".") != 0) {
		char *above = path_dirname(dir);

		free(dir);
		dir = above;
	}
	return os_watch_dir(dir);
}

int zvol_wait(const char *path, const char *name, Deadline until, bool *out_is_device, Error **err)
{
	for (;;) {
		auto_fd watch = watch_above(path);
		struct pollfd event = { .fd = watch, .events = POLLIN };

		if (zvol_is_there(path, name, out_is_device))
			return 0;
		if (cancel_check(err) < 0)
			return -1;
		if (deadline_passed(until)) {
			error_set(err, ERR_TIMEOUT, "the device '%s' did not appear", path);
			return error_hint(err,
					  "see whether udev makes it: udevadm settle && ls -l '%s'",
					  path);
		}
		(void)poll(&event, 1, deadline_poll_ms(deadline_sooner(until, LOOK_AGAIN_MS)));
	}
}
