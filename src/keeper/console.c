#include "keeper/console.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "keeper/log.h"
#include "util/fs.h"
#include "util/mem.h"

#define CHECK_MS 20000

static const char cut_note[] = "[ember: earlier output was dropped]\n";

static void on_timer(void *arg)
{
	Console *console = arg;

	console_check(console);
	loop_set_timer(console->loop, &console->timer, deadline_in_ms(CHECK_MS));
}

int console_open(Console *console, Loop *loop, const char *vm_dir, bool is_new, Error **err)
{
	auto_free char *path = path_join(vm_dir, "console.log");
	int flags = O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | (is_new ? O_TRUNC : 0);

	console->loop = loop;
	console->timer = (Timer){ .fired = on_timer, .arg = console };
	console->fd = open(path, flags, 0600);
	if (console->fd < 0)
		return error_set_errno(err, errno, "open '%s'", path);
	loop_set_timer(loop, &console->timer, deadline_in_ms(CHECK_MS));
	return 0;
}

/* The hypervisor appends too, so what it writes meanwhile comes before or behind our part; lines of
 * that moment may be lost. */
static int keep_end(int fd, off_t size)
{
	auto_free char *kept = xmalloc(CONSOLE_BYTES_KEPT);
	ssize_t got = pread(fd, kept, CONSOLE_BYTES_KEPT, size - CONSOLE_BYTES_KEPT);
	const char *line = got > 0 ? memchr(kept, '\n', (size_t)got) : NULL;
	const char *from = line ? line + 1 : kept;

	if (got < 0 || ftruncate(fd, 0) < 0 ||
	    fs_write_all(fd, cut_note, strlen(cut_note), NULL) < 0)
		return -1;
	return fs_write_all(fd, from, (size_t)(kept + got - from), NULL);
}

void console_check(Console *console)
{
	struct stat st;

	if (console->fd < 0 || fstat(console->fd, &st) < 0 || st.st_size <= CONSOLE_BYTES_MAX)
		return;
	if (keep_end(console->fd, st.st_size) < 0)
		log_line("console.log cannot be cut: %s", strerror(errno));
}

void console_close(Console *console)
{
	if (console->loop)
		loop_drop_timer(console->loop, &console->timer);
	close_fd(&console->fd);
}
