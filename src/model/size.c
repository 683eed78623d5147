#include "model/size.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "util/mem.h"
#include "util/str.h"

static const struct {
	char letter;
	uint64_t bytes;
} units[] = { { 'k', KIB }, { 'm', MIB }, { 'g', GIB }, { 't', TIB } };

static int refuse(const char *flag, const char *text, const char *why, Error **err)
{
	auto_free char *shown = str_make_printable(xasprintf("%.40s", text));

	error_set(err, ERR_USAGE, "%s: '%s' %s", flag, shown, why);
	return error_hint(err, "write a whole number with a unit: 512M, 4G or 2T");
}

/* "", "ib" in any case: what may follow the unit's letter. */
static bool is_unit_tail(const char *tail)
{
	return !*tail || (tolower((unsigned char)tail[0]) == 'i' &&
			  tolower((unsigned char)tail[1]) == 'b' && !tail[2]);
}

int size_parse(const char *flag, const char *text, uint64_t *out_bytes, Error **err)
{
	size_t digits = strspn(text, "0123456789");
	auto_free char *number = xstrndup(text, digits);
	const char *unit = text + digits;
	uint64_t value, factor = 0;

	if (!digits)
		return refuse(flag, text, "is not a size", err);
	if (!*unit)
		return refuse(flag, text, "requires a unit suffix", err);
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (tolower((unsigned char)*unit) == units[i].letter && is_unit_tail(unit + 1))
			factor = units[i].bytes;
	if (!factor)
		return refuse(flag, text, "is not a size in K, M, G or T", err);
	if (!str_parse_u64(number, INT64_MAX / factor, &value))
		return refuse(flag, text, "is too large", err);
	if (!value)
		return refuse(flag, text, "is nothing at all", err);
	*out_bytes = value * factor;
	return 0;
}

int size_parse_mib(const char *flag, const char *text, uint64_t *out_mib, Error **err)
{
	uint64_t bytes;

	if (size_parse(flag, text, &bytes, err) < 0)
		return -1;
	if (bytes % MIB)
		return refuse(flag, text, "is not a whole number of MiB", err);
	*out_mib = bytes / MIB;
	return 0;
}

char *size_text(uint64_t bytes)
{
	static const struct {
		uint64_t bytes;
		const char *name;
	} steps[] = { { TIB, "TiB" }, { GIB, "GiB" }, { MIB, "MiB" }, { KIB, "KiB" } };

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		uint64_t whole = bytes / steps[i].bytes;
		uint64_t tenths = bytes % steps[i].bytes * 10 / steps[i].bytes;

		if (whole && tenths)
			return xasprintf("%" PRIu64 ".%" PRIu64 " %s", whole, tenths,
					 steps[i].name);
		if (whole)
			return xasprintf("%" PRIu64 " %s", whole, steps[i].name);
	}
	return xasprintf("%" PRIu64 " B", bytes);
}

char *size_typed(uint64_t bytes)
{
	if (bytes % TIB == 0)
		return xasprintf("%lluT", (unsigned long long)(bytes / TIB));
	if (bytes % GIB == 0)
		return xasprintf("%lluG", (unsigned long long)(bytes / GIB));
	return xasprintf("%lluM", (unsigned long long)(bytes / MIB));
}

char *time_text_now(void)
{
	time_t now = time(NULL);
	struct tm parts;
	char text[32];

	(void)gmtime_r(&now, &parts);
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
	return xstrdup(text);
}

int time_parse(const char *text, time_t *out_time)
{
	struct tm parts = { 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts);

	if (!end || *end)
		return -1;
	*out_time = timegm(&parts);
	return 0;
}

char *time_text_age(time_t since, time_t now)
{
	long long s = now > since ? (long long)(now - since) : 0;

	if (s < 60)
		return xasprintf("%llds", s);
	if (s < 3600)
		return xasprintf("%lldm", s / 60);
	if (s < 86400)
		return xasprintf("%lldh%lldm", s / 3600, s % 3600 / 60);
	return xasprintf("%lldd%lldh", s / 86400, s % 86400 / 3600);
}
