#include "image/export_options.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "image/options.h"
#include "util/mem.h"
#include "util/str.h"

const char export_options_help[] =
	"usage: ember-image export --disk FILE [--offset N] --layout DIR[:TAG] [options]\n"
	"       ember-image export --disk FILE [--offset N] --tar-fd N [options]\n"
	"\n"
	"Make a tar, or an OCI image of one layer, of the ext4 root of a disk, which is only read.\n"
	"Run by `ember image`; answers JSON lines.\n"
	"\n"
	"  --disk FILE          a raw disk: ext4, or a GPT or MBR partition table with one\n"
	"  --offset N           where in the file the filesystem begins (default: found)\n"
	"  --layout DIR[:TAG]   an OCI image layout to put the image into; made when missing\n"
	"  --tar-fd N           an open descriptor to write the tar to\n"
	"  --compression NAME   gzip, zstd or none (default: gzip for a layout, none for a tar)\n"
	"  --run-config FILE    how to run it, an image.json (default: the one on the disk)\n"
	"  --platform OS/ARCH   what the image is for (default: this host)\n"
	"  --created TIME       when it was made (default: 1970-01-01T00:00:00Z)\n"
	"  --keep-seed          ember's own files too\n"
	"  --recover            replay the journal and repair first (e2fsck); changes FILE\n"
	"  --json               accepted; the answer is always JSON\n"
	"  --help\n";

const char probe_options_help[] =
	"usage: ember-image probe --disk FILE [--offset N]\n"
	"\n"
	"Find the ext4 root of a disk and say what there is to know about it, as one JSON line.\n"
	"\n"
	"  --disk FILE          a raw disk: ext4, or a GPT or MBR partition table with one\n"
	"  --offset N           where in the file the filesystem begins (default: found)\n"
	"  --recover            replay the journal and repair first (e2fsck); changes FILE\n"
	"  --json               accepted; the answer is always JSON\n"
	"  --help\n";

enum Option {
	OPTION_DISK = 256,
	OPTION_OFFSET,
	OPTION_JSON,
	OPTION_HELP,
	OPTION_TAR_FD,
	OPTION_LAYOUT,
	OPTION_COMPRESSION,
	OPTION_CONFIG,
	OPTION_PLATFORM,
	OPTION_CREATED,
	OPTION_KEEP_SEED,
	OPTION_RECOVER,
};

static const struct option export_words[] = {
	{ "disk", required_argument, NULL, OPTION_DISK },
	{ "offset", required_argument, NULL, OPTION_OFFSET },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "tar-fd", required_argument, NULL, OPTION_TAR_FD },
	{ "layout", required_argument, NULL, OPTION_LAYOUT },
	{ "compression", required_argument, NULL, OPTION_COMPRESSION },
	{ "run-config", required_argument, NULL, OPTION_CONFIG },
	{ "platform", required_argument, NULL, OPTION_PLATFORM },
	{ "created", required_argument, NULL, OPTION_CREATED },
	{ "keep-seed", no_argument, NULL, OPTION_KEEP_SEED },
	{ "recover", no_argument, NULL, OPTION_RECOVER },
	{ 0 },
};

static const struct option probe_words[] = {
	{ "disk", required_argument, NULL, OPTION_DISK },
	{ "offset", required_argument, NULL, OPTION_OFFSET },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "recover", no_argument, NULL, OPTION_RECOVER },
	{ 0 },
};

typedef struct Parsing {
	ExportOptions options;
	const char *program; /* for hints */
	const char *platform;
	const char *compression;
} Parsing;

void export_options_release(ExportOptions *options)
{
	free(options->disk);
	free(options->layout);
	free(options->tag);
	free(options->config);
	free(options->created);
	platform_release(&options->platform);
}

static void parsing_release(Parsing *parsing)
{
	export_options_release(&parsing->options);
}

static int refuse(const Parsing *parsing, Error **err, const char *fmt, const char *word)
{
	error_set(err, ERR_USAGE, fmt, word);
	return error_hint(err, "see: ember-image %s --help", parsing->program);
}

static int parse_tar_fd(Parsing *parsing, const char *text, Error **err)
{
	uint64_t fd;

	if (!str_parse_u64(text, INT_MAX, &fd) || fcntl((int)fd, F_GETFD) < 0)
		return refuse(parsing, err, "--tar-fd '%s' is not an open descriptor", text);
	if (fd == 1)
		return refuse(parsing, err, "--tar-fd %s is where the answers go", text);
	parsing->options.tar_fd = (int)fd;
	return 0;
}

/* RFC 3339 in UTC, which is what goes into the image as it is. */
static int parse_created(Parsing *parsing, const char *text, Error **err)
{
	struct tm tm = { 0 };
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (rest && *rest == '.')
		rest += 1 + strspn(rest + 1, "0123456789");
	if (!rest || strcmp(rest, "Z") != 0) {
		error_set(err, ERR_USAGE, "--created '%s' is not a time", text);
		return error_hint(err, "for example: --created 2024-05-06T07:08:09Z");
	}
	str_assign(&parsing->options.created, text);
	return 0;
}

static int parse_compression(Parsing *parsing, Error **err)
{
	static const struct {
		const char *name;
		Compression compression;
	} names[] = {
		{ "gzip", COMPRESSION_GZIP },
		{ "zstd", COMPRESSION_ZSTD },
		{ "none", COMPRESSION_NONE },
	};

	parsing->options.compression = parsing->options.layout ? COMPRESSION_GZIP
							       : COMPRESSION_NONE;
	for (size_t i = 0; parsing->compression && i < ARRAY_SIZE(names); i++) {
		if (strcmp(parsing->compression, names[i].name) != 0)
			continue;
		parsing->options.compression = names[i].compression;
		return 0;
	}
	if (parsing->compression)
		return refuse(parsing, err, "--compression '%s' is not gzip, zstd or none",
			      parsing->compression);
	return 0;
}

static int apply(Parsing *parsing, int option, const char *value, Error **err)
{
	ExportOptions *options = &parsing->options;

	switch (option) {
	case OPTION_DISK:
		str_assign(&options->disk, value);
		return 0;
	case OPTION_OFFSET:
		options->has_offset = true;
		if (str_parse_u64(value, INT64_MAX, &options->offset))
			return 0;
		return refuse(parsing, err, "--offset '%s' is not a number of bytes", value);
	case OPTION_TAR_FD:
		return parse_tar_fd(parsing, value, err);
	case OPTION_LAYOUT:
		options_split_layout(value, &options->layout, &options->tag);
		return 0;
	case OPTION_COMPRESSION:
		parsing->compression = value;
		return 0;
	case OPTION_CONFIG:
		str_assign(&options->config, value);
		return 0;
	case OPTION_PLATFORM:
		parsing->platform = value;
		return 0;
	case OPTION_CREATED:
		return parse_created(parsing, value, err);
	case OPTION_KEEP_SEED:
		options->keep_seed = true;
		return 0;
	case OPTION_RECOVER:
		options->recover = true;
		return 0;
	case OPTION_HELP:
		options->help = true;
		return 0;
	case OPTION_JSON:
		return 0;
	default:
		return refuse(parsing, err, "an option is unknown or lacks its value%s", "");
	}
}

static int parse_words(Parsing *parsing, int argc, char *argv[], const struct option *words,
		       Error **err)
{
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", words, NULL)) != -1)
		if (apply(parsing, option, optarg, err) < 0)
			return -1;
	if (optind < argc)
		return refuse(parsing, err, "unexpected word '%s'", argv[optind]);
	if (!parsing->options.help && !parsing->options.disk)
		return refuse(parsing, err, "--disk is missing%s", "");
	return 0;
}

static int check_export(Parsing *parsing, Error **err)
{
	ExportOptions *options = &parsing->options;

	if (options->help)
		return 0;
	/* No time is one that some tools do not expect (umoci crashes), and the clock would make each export another
	 * image: so it is the time that reproducible builds agree on. */
	if (!options->created)
		str_assign(&options->created, "1970-01-01T00:00:00Z");
	if (!options->layout == (options->tar_fd < 0))
		return refuse(parsing, err, "name the output by either --layout or --tar-fd%s", "");
	return parse_compression(parsing, err);
}

static void take(Parsing *parsing, ExportOptions *out)
{
	*out = parsing->options;
	parsing->options = (ExportOptions){ 0 };
}

int export_options_parse(int argc, char *argv[], ExportOptions *out, Error **err)
{
	CLEANUP(parsing_release) Parsing parsing = { .options.tar_fd = -1, .program = "export" };

	if (parse_words(&parsing, argc, argv, export_words, err) < 0 ||
	    check_export(&parsing, err) < 0 ||
	    platform_parse(parsing.platform, &parsing.options.platform, err) < 0)
		return -1;
	take(&parsing, out);
	return 0;
}

int probe_options_parse(int argc, char *argv[], ExportOptions *out, Error **err)
{
	CLEANUP(parsing_release) Parsing parsing = { .options.tar_fd = -1, .program = "probe" };

	if (parse_words(&parsing, argc, argv, probe_words, err) < 0)
		return -1;
	take(&parsing, out);
	return 0;
}
