#include "hypervisor/tsc.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

#include "util/deadline.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/str.h"

#define BOOT_ID_PATH	 "/proc/sys/kernel/random/boot_id"
#define MEASURE_NS	 20000000
#define KHZ_MIN		 100000ULL /* 0.1 to 20 GHz: anything else was not measured but disturbed */
#define KHZ_MAX		 20000000ULL
#define MEASURE_TRIES	 5
#define CACHE_LINE_BYTES 128

static int measure(uint64_t *out_khz, Error **err)
{
	for (int try = 0; try < MEASURE_TRIES; try++) {
		struct timespec pause = { .tv_nsec = MEASURE_NS };
		int64_t begin_ns = clock_monotonic_ns();
		uint64_t begin = __rdtsc(), ticks, khz;
		int64_t ns;

		(void)nanosleep(&pause, NULL);
		ns = clock_monotonic_ns() - begin_ns;
		ticks = __rdtsc() - begin;
		/* ns / 10^6 ms; ticks / ms = kHz. */
		khz = ns > 0 ? ticks * 1000000ULL / (uint64_t)ns : 0;
		if (khz >= KHZ_MIN && khz <= KHZ_MAX) {
			*out_khz = khz;
			return 0;
		}
	}
	return error_set(err, ERR_FAILED, "measure the speed of the time stamp counter");
}

/* The cache is one line, "BOOT-ID KHZ": a reboot may be a migration to other hardware. */
static bool read_cache(const char *path, const char *boot_id, uint64_t *out_khz)
{
	auto_free char *text = NULL;
	size_t id_len = strlen(boot_id);

	if (fs_read(path, CACHE_LINE_BYTES, &text, NULL, NULL) < 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return !strncmp(text, boot_id, id_len) && text[id_len] == ' ' &&
	       str_parse_u64(text + id_len + 1, KHZ_MAX, out_khz) && *out_khz >= KHZ_MIN;
}

int tsc_khz(const char *cache_dir, uint64_t *out_khz, Error **err)
{
	auto_free char *path = path_join(cache_dir, "tsc-khz");
	auto_free char *boot_id = NULL;
	auto_free char *line = NULL;
	uint64_t khz;

	if (fs_read(BOOT_ID_PATH, CACHE_LINE_BYTES, &boot_id, NULL, err) < 0)
		return -1;
	boot_id[strcspn(boot_id, "\n")] = '\0';
	if (read_cache(path, boot_id, out_khz))
		return 0;
	if (measure(&khz, err) < 0)
		return -1;
	/* Only a cache: where it cannot be kept it is measured again. */
	line = xasprintf("%s %llu\n", boot_id, (unsigned long long)khz);
	(void)fs_write_atomic(path, line, strlen(line), 0600, /* durable= */ false, NULL);
	*out_khz = khz;
	return 0;
}
