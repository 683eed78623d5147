#include "storage/zfs_command.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "util/mem.h"

/* A store with thousands of volumes, each with snapshots. */
#define OUTPUT_MAX (64U << 20)

/* udev looks into a device when it appears and after it was written to; the volume is busy meanwhile. */
#define BUSY_TIMEOUT_MS 10000
#define BUSY_PAUSE_MIN	2000
#define BUSY_PAUSE_MAX	(50 * 1000)

#define CONTRIB "install it from Debian's contrib section: apt-get install "

/* The first phrase that occurs in what the program said decides. */
static const struct {
	const char *phrase;
	ErrorCode code;
	const char *hint;
} meanings[] = {
	{ "modules are not loaded", ERR_UNSUPPORTED, CONTRIB "zfs-dkms" },
	{ "modules cannot be auto-loaded", ERR_UNSUPPORTED, CONTRIB "zfs-dkms" },
	{ "/dev/zfs and /proc/self/mounts are required", ERR_UNSUPPORTED,
	  "load the kernel module: modprobe zfs" },
	{ "dataset does not exist", ERR_NOT_FOUND, "see what is there: zfs list -t all" },
	{ "could not find any snapshots to destroy", ERR_NOT_FOUND,
	  "see what is there: zfs list -t all" },
	{ "no such pool", ERR_NOT_FOUND, "see which pools there are: zpool list" },
	{ "parent does not exist", ERR_NOT_FOUND, "make it first: zfs create" },
	{ "dataset already exists", ERR_EXISTS, "see what is there: zfs list -t all" },
	{ "a pool with that name", ERR_EXISTS, "see which pools there are: zpool list" },
	{ "out of space", ERR_FAILED, "make room: ember storage trim, or delete VMs and images" },
	{ "quota exceeded", ERR_FAILED, "raise the dataset's quota: zfs set quota" },
	{ "dependent clones", ERR_BUSY, "see which: zfs list -t all -o name,clones" },
	{ "snapshot is cloned", ERR_BUSY, "see which: zfs list -t all -o name,clones" },
	{ "dataset is busy", ERR_BUSY, "see who has it open: fuser -v /dev/zd*" },
	{ "pool is busy", ERR_BUSY, "see who has it open: fuser -v /dev/zd*" },
	{ "is in use and contains", ERR_BUSY, "see by whom: lsblk" },
	{ "support trim operations", ERR_UNSUPPORTED, "there is nothing to do on such devices" },
	{ "permission denied", ERR_DENIED, "run the command as root, for example with sudo" },
	{ "currently suspended", ERR_FAILED, "give its file room, and then: zpool clear" },
};

int zfs_command(Command *cmd, const char *program, Error **err)
{
	auto_free char *found = program_find_admin(program);

	if (!found) {
		auto_free char *hint = program_install_hint(program);

		error_set(err, ERR_MISSING_TOOL, "'%s' is not installed", program);
		return error_hint(err, "%s", hint);
	}
	command_init(cmd, found, NULL);
	command_add_env(cmd, "LC_ALL", "C");
	cmd->capture = true;
	cmd->output_max = OUTPUT_MAX;
	/* Each is one change that is whole or not at all, and most of them take something back. */
	cmd->is_undo = true;
	return 0;
}

/* "cannot open 'tank/x': dataset does not exist": the first line says it, and the rest is detail. */
static int explain(const Error *failure, Error **err)
{
	const char *said = error_detail_text(failure);
	auto_free char *line = NULL;

	if (error_code(failure) != ERR_FAILED || str_is_empty(said))
		return -1;
	line = str_make_printable(xstrndup(said, strcspn(said, "\n")));
	if (strstr(said, "ZFS modules"))
		str_assign(&line, "ZFS's kernel module is not loaded");
	for (size_t i = 0; i < ARRAY_SIZE(meanings); i++) {
		if (!strstr(said, meanings[i].phrase))
			continue;
		error_set(err, meanings[i].code, "%s", line);
		error_hint(err, "%s", meanings[i].hint);
		error_detail(err, said);
		return 0;
	}
	error_set(err, ERR_FAILED, "%s", line);
	error_detail(err, said);
	return 0;
}

int zfs_run_for(Command *cmd, int64_t timeout_ms, Error **err)
{
	auto_error failure = NULL;

	if (command_run(cmd, deadline_in_ms(timeout_ms), &failure) == 0)
		return 0;
	if (explain(failure, err) < 0)
		error_move(err, &failure);
	return -1;
}

int zfs_run(Command *cmd, Error **err)
{
	return zfs_run_for(cmd, ZFS_TIMEOUT_MS, err);
}

static int run_words(Command *cmd, Error **err, const char *program, va_list words)
{
	const char *word;

	if (zfs_command(cmd, program, err) < 0)
		return -1;
	while ((word = va_arg(words, const char *)))
		command_add(cmd, word);
	return zfs_run(cmd, err);
}

int zfs_ask(Command *cmd, Error **err, const char *program, ...)
{
	va_list words;
	int result;

	va_start(words, program);
	result = run_words(cmd, err, program, words);
	va_end(words);
	return result;
}

int zfs_do(Error **err, const char *program, ...)
{
	auto_command Command cmd = { 0 };
	va_list words;
	int result;

	va_start(words, program);
	result = run_words(&cmd, err, program, words);
	va_end(words);
	return result;
}

int zfs_insist(Error **err, const char *program, ...)
{
	Deadline until = deadline_in_ms(BUSY_TIMEOUT_MS);

	for (useconds_t pause = BUSY_PAUSE_MIN;;
	     pause = pause < BUSY_PAUSE_MAX ? pause * 2 : pause) {
		auto_command Command cmd = { 0 };
		auto_error cause = NULL;
		va_list words;
		int result;

		va_start(words, program);
		result = run_words(&cmd, &cause, program, words);
		va_end(words);
		if (result == 0)
			return 0;
		if (error_code(cause) != ERR_BUSY || !strstr(error_text(cause), "is busy") ||
		    deadline_passed(until)) {
			error_move(err, &cause);
			return -1;
		}
		(void)usleep(pause);
	}
}

bool zfs_next_row(char **next, char *out_fields[ZFS_FIELDS_MAX])
{
	static char none[] = "";
	char *line = strsep(next, "\n");

	if (!line || !*line)
		return false;
	for (size_t i = 0; i < ZFS_FIELDS_MAX; i++) {
		char *field = line ? strsep(&line, "\t") : NULL;

		out_fields[i] = field ? field : none;
	}
	return true;
}

uint64_t zfs_figure(const char *text)
{
	uint64_t figure = 0;

	return str_parse_u64(text, UINT64_MAX, &figure) ? figure : 0;
}
