#include "storage/dm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

#include "storage/dm_udev.h"
#include "util/deadline.h"
#include "util/fs.h"
#include "util/mem.h"

#define DEVICES_DIR    "/dev/" DM_DIR
#define CONTROL_NODE   DEVICES_DIR "/" DM_CONTROL_NODE
#define FIRST_BYTES    (16U << 10)
#define MOST_BYTES     (4U << 20)
#define BUSY_WAIT_MS   5000
#define BUSY_PERIOD_NS 20000000L

typedef struct Request {
	struct dm_ioctl *io; /* with its data behind it */
} Request;

static void request_release(Request *request)
{
	free(request->io);
	request->io = NULL;
}
#define auto_request CLEANUP(request_release) Request

static Request request_new(const char *name, uint32_t flags, size_t data_bytes)
{
	size_t size = sizeof(struct dm_ioctl) + data_bytes;
	Request request = { .io = xcalloc(1, size) };

	request.io->version[0] = DM_VERSION_MAJOR; /* .0.0: what every kernel of this century has */
	request.io->data_size = (uint32_t)size;
	request.io->data_start = sizeof(struct dm_ioctl);
	request.io->flags = flags;
	(void)snprintf(request.io->name, sizeof(request.io->name), "%s", name ? name : "");
	return request;
}

static void *request_data(const Request *request)
{
	return (char *)request->io + sizeof(struct dm_ioctl);
}

/* 0, or the errno. */
static int call(unsigned long command, struct dm_ioctl *io)
{
	auto_fd control = open(CONTROL_NODE, O_RDWR | O_CLOEXEC);

	if (control < 0)
		return errno;
	return ioctl(control, command, io) < 0 ? errno : 0;
}

/* The same for what udev hears of. */
static int call_told(unsigned long command, struct dm_ioctl *io)
{
	DmUdev udev;
	int result;

	dm_udev_begin(&udev);
	io->event_nr = udev.cookie;
	result = call(command, io);
	dm_udev_end(&udev, result == 0 && (io->flags & DM_UEVENT_GENERATED_FLAG));
	return result;
}

static int failed(int errnum, const char *what, const char *name, Error **err)
{
	error_set_errno(err, errnum, "%s device '%s'", what, name);
	if (errnum == EACCES || errnum == EPERM)
		return error_hint(err, "run the command as root, for example with sudo");
	return error_hint(err, "the kernel may say more: dmesg | tail");
}

/* A question whose answer may be longer than expected. */
static int ask(unsigned long command, const char *name, uint32_t flags, Request *out_request)
{
	for (size_t size = FIRST_BYTES;; size *= 4) {
		auto_request request = request_new(name, flags, size);
		int result = call(command, request.io);

		if (result)
			return result;
		if (request.io->flags & DM_BUFFER_FULL_FLAG) {
			if (size >= MOST_BYTES)
				return ENOBUFS;
			continue;
		}
		*out_request = request;
		request.io = NULL;
		return 0;
	}
}

int dm_probe(const char *target, char **out_reason)
{
	auto_request request = request_new(target, 0, FIRST_BYTES);
	int result = call(DM_GET_TARGET_VERSION, request.io);

	if (result == 0)
		return 1;
	if (result == EINVAL)
		*out_reason = xasprintf("the kernel has no '%s' (module dm-%s)", target, target);
	else if (result == ENOENT || result == ENODEV || result == ENXIO)
		*out_reason = xstrdup("the kernel has no device mapper (module dm-mod)");
	else
		*out_reason = xasprintf("the device mapper cannot be used: %s", strerror(result));
	return 0;
}

int dm_info(const char *name, DmInfo *out_info, Error **err)
{
	auto_request request = request_new(name, 0, 0);
	int result = call(DM_DEV_STATUS, request.io);
	DmInfo info = { .exists = result == 0 };

	if (result && result != ENXIO)
		return failed(result, "look at", name, err);
	if (info.exists) {
		info.is_active = request.io->flags & DM_ACTIVE_PRESENT_FLAG;
		info.is_suspended = request.io->flags & DM_SUSPEND_FLAG;
		info.is_readonly = request.io->flags & DM_READONLY_FLAG;
		info.open_count = (uint32_t)request.io->open_count;
		/* As new_encode_dev() of the kernel packs it. */
		(void)snprintf(
			info.number, sizeof(info.number), "%u:%u",
			(unsigned)((request.io->dev & 0xfff00) >> 8),
			(unsigned)((request.io->dev & 0xff) | ((request.io->dev >> 12) & 0xfff00)));
		(void)snprintf(info.uuid, sizeof(info.uuid), "%s", request.io->uuid);
	}
	*out_info = info;
	return 0;
}

int dm_list(const char *prefix, Strv *out_names, Error **err)
{
	auto_request request = { 0 };
	int result = ask(DM_LIST_DEVICES, NULL, 0, &request);
	const char *at, *end;

	if (result)
		return failed(result, "list what begins like", prefix, err);
	at = request_data(&request);
	end = (const char *)request.io + request.io->data_size;
	for (;;) {
		const struct dm_name_list *entry = (const void *)at;

		if (at + sizeof(*entry) > end || !entry->dev)
			return 0;
		if (str_starts_with(entry->name, prefix))
			strv_push(out_names, entry->name);
		if (!entry->next)
			return 0;
		at += entry->next;
	}
}

char *dm_path(const char *name)
{
	return path_join(DEVICES_DIR, name);
}

/* What the kernel calls the device's node: it makes that in /dev by itself. */
static int node_of(const DmInfo *info, char **out_node, Error **err)
{
	auto_free char *path = xasprintf("/sys/dev/block/%s/uevent", info->number);
	auto_free char *text = NULL;
	const char *found;

	if (fs_read(path, FIRST_BYTES, &text, NULL, err) < 0)
		return -1;
	found = strstr(text, "DEVNAME=");
	if (!found)
		return error_set(err, ERR_FAILED, "'%s' does not name its device", path);
	found += strlen("DEVNAME=");
	*out_node = xstrndup(found, strcspn(found, "\n"));
	return 0;
}

/* A link that is there already says the same, or is of a former life. */
static int make_link(const char *name, Error **err)
{
	auto_free char *path = dm_path(name);
	auto_free char *node = NULL;
	auto_free char *to = NULL;
	DmInfo info;

	if (dm_info(name, &info, err) < 0 || node_of(&info, &node, err) < 0 ||
	    fs_mkdir_all(DEVICES_DIR, 0755, err) < 0)
		return -1;
	to = xasprintf("../%s", node);
	if (symlink(to, path) == 0)
		return 0;
	if (errno == EEXIST && unlink(path) == 0 && symlink(to, path) == 0)
		return 0;
	return error_set_errno(err, errno, "make '%s'", path);
}

static uint32_t readonly_flag(bool is_readonly)
{
	return is_readonly ? DM_READONLY_FLAG : 0;
}

static size_t spec_bytes(const DmTarget *target)
{
	/* The next one begins at a multiple of eight. */
	return (sizeof(struct dm_target_spec) + strlen(target->params) + 1 + 7) & ~(size_t)7;
}

int dm_load(const char *name, const DmTarget *targets, size_t count, bool is_readonly, Error **err)
{
	auto_request request = { 0 };
	size_t size = 0;
	char *at;
	int result;

	for (size_t i = 0; i < count; i++)
		size += spec_bytes(&targets[i]);
	request = request_new(name, readonly_flag(is_readonly), size);
	request.io->target_count = (uint32_t)count;
	at = request_data(&request);
	for (size_t i = 0; i < count; i++) {
		struct dm_target_spec *spec = (void *)at;

		spec->sector_start = targets[i].start;
		spec->length = targets[i].length;
		spec->next = (uint32_t)spec_bytes(&targets[i]);
		(void)snprintf(spec->target_type, sizeof(spec->target_type), "%s", targets[i].type);
		memcpy(at + sizeof(*spec), targets[i].params, strlen(targets[i].params) + 1);
		at += spec->next;
	}
	result = call(DM_TABLE_LOAD, request.io);
	return result ? failed(result, "load the table of", name, err) : 0;
}

int dm_suspend(const char *name, Error **err)
{
	auto_request request = request_new(name, DM_SUSPEND_FLAG, 0);
	int result = call(DM_DEV_SUSPEND, request.io);

	return result ? failed(result, "suspend", name, err) : 0;
}

int dm_resume(const char *name, Error **err)
{
	auto_request request = request_new(name, 0, 0);
	int result = call_told(DM_DEV_SUSPEND, request.io);

	return result ? failed(result, "resume", name, err) : 0;
}

static int create(const char *name, const char *uuid, Error **err)
{
	auto_request request = request_new(name, 0, 0);
	int result;

	(void)snprintf(request.io->uuid, sizeof(request.io->uuid), "%s", uuid);
	result = call(DM_DEV_CREATE, request.io);
	return result ? failed(result, "make", name, err) : 0;
}

int dm_make(const char *name, const char *uuid, const DmTarget *targets, size_t count,
	    bool is_readonly, Error **err)
{
	DmInfo info;

	if (dm_info(name, &info, err) < 0 || (!info.exists && create(name, uuid, err) < 0))
		return -1;
	if (dm_load(name, targets, count, is_readonly, err) == 0 && dm_resume(name, err) == 0 &&
	    make_link(name, err) == 0)
		return 0;
	if (!info.exists)
		(void)dm_remove(name, NULL);
	return -1;
}

/* Whoever looks at every new device (udev, a monitor) has it open for a moment. The kernel tells nobody when it is
 * closed, so this is asked again and again. */
static int remove_when_closed(const char *name)
{
	static const struct timespec period = { .tv_nsec = BUSY_PERIOD_NS };
	Deadline until = deadline_in_ms(BUSY_WAIT_MS);

	for (;;) {
		auto_request request = request_new(name, 0, 0);
		int result = call_told(DM_DEV_REMOVE, request.io);

		if (result != EBUSY || deadline_passed(until))
			return result;
		(void)nanosleep(&period, NULL);
	}
}

int dm_remove(const char *name, Error **err)
{
	auto_free char *path = dm_path(name);
	DmInfo info;
	int result;

	if (dm_info(name, &info, err) < 0)
		return -1;
	/* One that is suspended would wait for its last writes for ever. */
	if (info.exists && info.is_active && info.is_suspended && dm_resume(name, err) < 0)
		return -1;
	result = info.exists ? remove_when_closed(name) : 0;
	if (result == EBUSY) {
		error_set(err, ERR_BUSY, "the disk '%s' is in use", path);
		return error_hint(err, "see by whom: fuser -v '%s'", path);
	}
	if (result && result != ENXIO)
		return failed(result, "remove", name, err);
	return fs_remove(path, err);
}

int dm_message(const char *name, const char *text)
{
	size_t len = strlen(text) + 1;
	auto_request request = request_new(name, 0, sizeof(struct dm_target_msg) + len);
	struct dm_target_msg *message = request_data(&request);

	memcpy(message->message, text, len); /* the first target; ours have one only */
	return call(DM_TARGET_MSG, request.io);
}

static int status(const char *name, uint32_t flags, Request *out_request, Error **err)
{
	int result = ask(DM_TABLE_STATUS, name, flags, out_request);

	return result ? failed(result, "look at", name, err) : 0;
}

int dm_status(const char *name, char **out_text, Error **err)
{
	auto_request request = { 0 };
	const struct dm_target_spec *spec;

	if (status(name, 0, &request, err) < 0)
		return -1;
	if (!request.io->target_count)
		return error_set(err, ERR_STATE, "device '%s' has no table", name);
	spec = request_data(&request);
	*out_text = xstrdup((const char *)(spec + 1));
	return 0;
}

int dm_sectors(const char *name, uint64_t *out_sectors, Error **err)
{
	auto_request request = { 0 };
	const struct dm_target_spec *spec;
	uint64_t sectors = 0;
	const char *first;

	if (status(name, DM_STATUS_TABLE_FLAG, &request, err) < 0)
		return -1;
	first = request_data(&request);
	spec = (const void *)first;
	for (uint32_t i = 0; i < request.io->target_count; i++) {
		sectors += spec->length;
		spec = (const void *)(first + spec->next);
	}
	*out_sectors = sectors;
	return 0;
}

/* Resume, whatever became of the others. */
static int resume_all(const char *const *names, size_t count, Error **err)
{
	int result = 0;

	for (size_t i = 0; i < count; i++) {
		DmInfo info;

		if (dm_info(names[i], &info, result ? NULL : err) < 0 ||
		    (info.is_active && info.is_suspended &&
		     dm_resume(names[i], result ? NULL : err) < 0))
			result = -1;
	}
	return result;
}

/* The end of our line comes when our parent lets go of it, or dies. Nothing else of its is kept open: no lock, no disk. */
static void guard(int line, const char *const *names, size_t count)
{
	char byte = 0;

	(void)setsid(); /* a Ctrl-C is not for us */
	(void)signal(SIGTERM, SIG_IGN);
	if (dup2(line, 0) == 0) {
		(void)close_range(1, ~0U, 0);
		(void)send(0, &byte, 1, MSG_NOSIGNAL);
		while (read(0, &byte, 1) < 0 && errno == EINTR)
			;
		(void)resume_all(names, count, NULL);
	}
	_exit(0);
}

int dm_guard_begin(const char *const *names, size_t count, DmGuard *out_guard, Error **err)
{
	int ends[2];
	char byte;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return error_set_errno(err, errno, "connect to a guard");
	pid = fork();
	if (pid < 0) {
		error_set_errno(err, errno, "start a process");
		(void)close(ends[0]);
		(void)close(ends[1]);
		return -1;
	}
	if (pid == 0)
		guard(ends[0], names, count);
	(void)close(ends[0]);
	*out_guard = (DmGuard){ .names = names, .count = count, .fd = ends[1], .pid = pid };
	while (read(ends[1], &byte, 1) < 0 && errno == EINTR)
		;
	return 0;
}

int dm_guard_end(DmGuard *guard, Error **err)
{
	int result = resume_all(guard->names, guard->count, err);

	close_fd(&guard->fd);
	while (waitpid(guard->pid, NULL, 0) < 0 && errno == EINTR)
		;
	return result;
}
