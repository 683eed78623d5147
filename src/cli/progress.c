#include "cli/progress.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "model/size.h"
#include "util/deadline.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/str.h"

#define NS_PER_MS     1000000LL
#define SHOW_AFTER_MS 500
#define REDRAW_MS     100
#define BAR_WIDTH     24U
#define NARROW_BAR    10U
/* Below this the bar is the narrow one. */
#define WIDE_ENOUGH    100U
#define FALLBACK_WIDTH 80U
#define ERASE_LINE     "\r\033[K"
/* What a step is called is cut down to this, so that its figures can be seen. */
#define TEXT_LEAST 16U
/* And by so much at a time, so that it does not move with every figure. */
#define TEXT_STEP 8U
/* How long a change of the rate takes to be seen: quick enough to be true, slow enough to be read. */
#define RATE_SECONDS 2.0

struct Progress {
	int fd;
	bool is_terminal;
	bool is_verbose;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t painter;
	bool has_painter;
	/* Under the lock: */
	bool is_ending;
	bool is_drawn;
	char *step; /* NULL: none is under way */
	int64_t began_ns;
	uint64_t done;
	uint64_t total;
	ProgressRate rate;
};

static void put(const Progress *progress, const char *text)
{
	/* A terminal that is gone is no reason to stop the work. */
	(void)fs_write_all(progress->fd, text, strlen(text), NULL);
}

static char *seconds_text(int64_t elapsed_ms)
{
	if (elapsed_ms < 60000)
		return xasprintf("%lld.%lld s", (long long)(elapsed_ms / 1000),
				 (long long)(elapsed_ms % 1000 / 100));
	return xasprintf("%lldm%02llds", (long long)(elapsed_ms / 60000),
			 (long long)(elapsed_ms / 1000 % 60));
}

static char *bytes_text(uint64_t done, uint64_t total, unsigned bar_width)
{
	auto_free char *have = size_text(done);
	auto_free char *all = total ? size_text(total) : NULL;
	char bar[BAR_WIDTH + 1];
	unsigned filled;

	if (!total)
		return xasprintf("  %s", have);
	if (done > total)
		done = total;
	filled = (unsigned)((double)done / (double)total * bar_width);
	memset(bar, '-', bar_width);
	memset(bar, '#', filled);
	bar[bar_width] = '\0';
	return xasprintf("  [%s] %3u%%  %s of %s", bar,
			 (unsigned)((double)done * 100 / (double)total), have, all);
}

/* Cut to that many characters, never inside one. */
static void cut(char *text, unsigned width)
{
	unsigned used = 0;

	for (; *text; text++) {
		if (((unsigned char)*text & 0xc0) != 0x80 && used++ == width) {
			*text = '\0';
			return;
		}
	}
}

static unsigned columns(const char *text)
{
	unsigned used = 0;

	for (; *text; text++)
		if (((unsigned char)*text & 0xc0) != 0x80)
			used++;
	return used;
}

/* Where the last so many characters begin. */
static const char *tail(const char *text, unsigned width)
{
	unsigned skipped = columns(text);

	for (; *text; text++)
		if (((unsigned char)*text & 0xc0) != 0x80 && skipped-- <= width)
			break;
	return text;
}

/* "fetch ...ng/name:latest": what is done, and the end of what it is done to, which tells one from another. */
static char *shorten(const char *text, unsigned width)
{
	unsigned verb = (unsigned)strcspn(text, " ") + 1;

	if (columns(text) <= width)
		return xstrdup(text);
	if (verb + sizeof("...") > width / 2)
		verb = 0;
	return xasprintf("%.*s...%s", (int)verb, text,
			 tail(text, width - verb - (unsigned)strlen("...")));
}

char *progress_line(const char *text, int64_t elapsed_ms, uint64_t done, uint64_t total,
		    uint64_t rate, unsigned width)
{
	unsigned bar_width = width < WIDE_ENOUGH ? NARROW_BAR : BAR_WIDTH;
	auto_free char *bytes = done || total ? bytes_text(done, total, bar_width) : xstrdup("");
	auto_free char *speed = rate ? size_text(rate) : NULL;
	auto_free char *seconds = seconds_text(elapsed_ms);
	auto_free char *figures = xasprintf("%s%s%s%s  %s", bytes, speed ? "  " : "",
					    speed ? speed : "", speed ? "/s" : "", seconds);
	auto_free char *printable = str_make_printable(xstrdup(text));
	auto_free char *name = NULL;
	unsigned room = columns(figures);
	char *line;

	room = width > room ? width - room : 0;
	if (room < columns(printable))
		room -= room % TEXT_STEP;
	name = shorten(printable, room > TEXT_LEAST ? room : TEXT_LEAST);
	line = xasprintf("%s%s", name, figures);
	cut(line, width);
	return line;
}

void progress_rate_look(ProgressRate *rate, int64_t now_ns, uint64_t done)
{
	double seconds, now;

	if (!rate->at_ns || done < rate->done) {
		*rate = (ProgressRate){ .at_ns = now_ns, .done = done };
		return;
	}
	seconds = (double)(now_ns - rate->at_ns) / 1e9;
	if (seconds <= 0)
		return;
	now = (double)(done - rate->done) / seconds;
	/* What came at once, before anybody looked, says how fast it began. */
	if (rate->per_second <= 0)
		rate->per_second = now;
	else
		rate->per_second += (now - rate->per_second) * seconds / (seconds + RATE_SECONDS);
	rate->at_ns = now_ns;
	rate->done = done;
}

static unsigned terminal_width(int fd)
{
	struct winsize size = { 0 };

	/* One column less: writing the last one makes some terminals begin a new line. */
	return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1U
								    : FALLBACK_WIDTH - 1;
}

static int64_t elapsed_ms(const Progress *progress)
{
	return (clock_monotonic_ns() - progress->began_ns) / NS_PER_MS;
}

static void erase(Progress *progress)
{
	if (progress->is_drawn)
		put(progress, ERASE_LINE);
	progress->is_drawn = false;
}

static void draw(Progress *progress)
{
	auto_free char *line = NULL;
	auto_free char *all = NULL;

	progress_rate_look(&progress->rate, clock_monotonic_ns(), progress->done);
	line = progress_line(progress->step, elapsed_ms(progress), progress->done, progress->total,
			     (uint64_t)progress->rate.per_second, terminal_width(progress->fd));
	all = xasprintf(ERASE_LINE "%s", line);
	put(progress, all);
	progress->is_drawn = true;
}

/* The step is over; it stays as a line if it was seen, or if every one is wanted. */
static void finish_step(Progress *progress)
{
	bool stays = progress->is_drawn || progress->is_verbose;

	if (!progress->step)
		return;
	erase(progress);
	if (stays) {
		int64_t took_ms = elapsed_ms(progress);
		uint64_t moved = progress->total ? progress->total : progress->done;
		uint64_t rate = took_ms > SHOW_AFTER_MS ? moved * 1000 / (uint64_t)took_ms : 0;
		auto_free char *line =
			progress_line(progress->step, took_ms, moved, 0, rate, FALLBACK_WIDTH * 2);
		auto_free char *all = xasprintf("%s\n", line);

		put(progress, all);
	}
	free(progress->step);
	progress->step = NULL;
}

static void *paint(void *arg)
{
	Progress *progress = arg;

	pthread_mutex_lock(&progress->lock);
	while (!progress->is_ending) {
		int64_t next_ns;
		struct timespec until;

		if (!progress->step) {
			pthread_cond_wait(&progress->changed, &progress->lock);
			continue;
		}
		next_ns = progress->began_ns + SHOW_AFTER_MS * NS_PER_MS;
		if (clock_monotonic_ns() >= next_ns) {
			draw(progress);
			next_ns = clock_monotonic_ns() + REDRAW_MS * NS_PER_MS;
		}
		until = (struct timespec){ next_ns / 1000000000LL, next_ns % 1000000000LL };
		pthread_cond_timedwait(&progress->changed, &progress->lock, &until);
	}
	pthread_mutex_unlock(&progress->lock);
	return NULL;
}

/* Signals are for the main thread: it is the one whose waits must come back. */
static void start_painter(Progress *progress)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	progress->has_painter = pthread_create(&progress->painter, NULL, paint, progress) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

Progress *progress_new(int fd, bool is_terminal, bool is_verbose)
{
	Progress *progress = xcalloc(1, sizeof(*progress));
	pthread_condattr_t monotonic;

	progress->fd = fd;
	progress->is_terminal = is_terminal;
	progress->is_verbose = is_verbose;
	pthread_mutex_init(&progress->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&progress->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return progress;
}

void progress_step(Progress *progress, const char *text)
{
	if (!progress)
		return;
	pthread_mutex_lock(&progress->lock);
	finish_step(progress);
	if (text) {
		progress->step = xstrdup(text);
		progress->began_ns = clock_monotonic_ns();
		progress->done = progress->total = 0;
		progress->rate = (ProgressRate){ .at_ns = progress->began_ns };
		if (progress->is_terminal && !progress->has_painter)
			start_painter(progress);
	}
	pthread_cond_signal(&progress->changed);
	pthread_mutex_unlock(&progress->lock);
}

void progress_retitle(Progress *progress, const char *text)
{
	if (!progress)
		return;
	pthread_mutex_lock(&progress->lock);
	if (progress->step)
		str_assign(&progress->step, text);
	pthread_mutex_unlock(&progress->lock);
}

void progress_bytes(Progress *progress, uint64_t done, uint64_t total)
{
	if (!progress)
		return;
	pthread_mutex_lock(&progress->lock);
	progress->done = done;
	progress->total = total;
	pthread_mutex_unlock(&progress->lock);
}

static void abandon(Progress *progress)
{
	erase(progress);
	free(progress->step);
	progress->step = NULL;
}

void progress_abandon(Progress *progress)
{
	if (!progress)
		return;
	pthread_mutex_lock(&progress->lock);
	abandon(progress);
	pthread_mutex_unlock(&progress->lock);
}

void progress_pause(Progress *progress)
{
	if (!progress)
		return;
	pthread_mutex_lock(&progress->lock);
	erase(progress);
}

void progress_resume(Progress *progress)
{
	if (progress)
		pthread_mutex_unlock(&progress->lock);
}

void progress_free(Progress *progress)
{
	if (!progress)
		return;
	pthread_mutex_lock(&progress->lock);
	progress->is_ending = true;
	abandon(progress);
	pthread_cond_signal(&progress->changed);
	pthread_mutex_unlock(&progress->lock);
	if (progress->has_painter)
		pthread_join(progress->painter, NULL);
	pthread_cond_destroy(&progress->changed);
	pthread_mutex_destroy(&progress->lock);
	free(progress);
}
