#include "image/options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image/ext4.h"
#include "util/mem.h"

const char options_help[] =
	"usage: ember-image --layout DIR[:TAG] [--blobs DIR] --output FILE [options]\n"
	"       ember-image --tar FILE|-... [--config FILE | --run-config FILE] --output FILE\n"
	"                   [options]\n"
	"       ember-image export --help\n"
	"       ember-image probe --help\n"
	"\n"
	"Make an ext4 root disk of an OCI image. Run by `ember image`; answers JSON lines.\n"
	"\n"
	"  --layout DIR[:TAG]   an OCI image layout, and which of its images\n"
	"  --blobs DIR          a directory of blobs that layouts share\n"
	"  --tar FILE           a plain tar (gzip, zstd) as a layer, lowest first; - is stdin\n"
	"  --config FILE        the OCI config document that goes with tars\n"
	"  --run-config FILE    the image.json that goes with tars\n"
	"  --output FILE        the image to make; must not exist\n"
	"  --max-size BYTES     what it may grow to (default 64 GiB)\n"
	"  --platform OS/ARCH   which image of a multi-platform index (default: this host's)\n"
	"  --guest FILE         the guest program to put into it\n"
	"  --gunzip LIBRARY     isa-l or zlib (default: the fastest that is there)\n"
	"  --no-seed            the bare tree, without ember's own files\n"
	"  --json               accepted; the answer is always JSON\n"
	"  --help, --version\n";

enum Option {
	OPTION_LAYOUT = 256,
	OPTION_BLOBS,
	OPTION_TAR,
	OPTION_CONFIG,
	OPTION_RUN_CONFIG,
	OPTION_OUTPUT,
	OPTION_MAX_SIZE,
	OPTION_PLATFORM,
	OPTION_GUEST,
	OPTION_GUNZIP,
	OPTION_NO_SEED,
	OPTION_JSON,
	OPTION_HELP,
	OPTION_VERSION,
};

static const struct option long_options[] = {
	{ "layout", required_argument, NULL, OPTION_LAYOUT },
	{ "blobs", required_argument, NULL, OPTION_BLOBS },
	{ "tar", required_argument, NULL, OPTION_TAR },
	{ "config", required_argument, NULL, OPTION_CONFIG },
	{ "run-config", required_argument, NULL, OPTION_RUN_CONFIG },
	{ "output", required_argument, NULL, OPTION_OUTPUT },
	{ "max-size", required_argument, NULL, OPTION_MAX_SIZE },
	{ "platform", required_argument, NULL, OPTION_PLATFORM },
	{ "guest", required_argument, NULL, OPTION_GUEST },
	{ "gunzip", required_argument, NULL, OPTION_GUNZIP },
	{ "no-seed", no_argument, NULL, OPTION_NO_SEED },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ 0 },
};

void options_release(Options *options)
{
	free(options->layout);
	free(options->tag);
	free(options->blobs);
	strv_release(&options->tars);
	free(options->config);
	free(options->run_config);
	free(options->output);
	free(options->guest);
	platform_release(&options->platform);
}

static int refuse(Error **err, const char *fmt, const char *word)
{
	error_set(err, ERR_USAGE, fmt, word);
	return error_hint(err, "see: ember-image --help");
}

static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

void options_split_layout(const char *text, char **out_dir, char **out_tag)
{
	const char *colon;

	if (is_directory(text)) {
		str_assign(out_dir, text);
		return;
	}
	for (colon = strchr(text, ':'); colon; colon = strchr(colon + 1, ':')) {
		auto_free char *dir = xstrndup(text, (size_t)(colon - text));

		if (is_directory(dir))
			break;
	}
	if (!colon)
		colon = strchr(text, ':');
	free(*out_dir);
	*out_dir = colon ? xstrndup(text, (size_t)(colon - text)) : xstrdup(text);
	if (colon && colon[1])
		str_assign(out_tag, colon + 1);
}

static int parse_max_size(const char *text, uint64_t *out_bytes, Error **err)
{
	if (str_parse_u64(text, EXT4_MAX_BYTES, out_bytes) && *out_bytes >= OPTIONS_MIN_MAX_BYTES)
		return 0;
	error_set(err, ERR_USAGE, "--max-size '%s' is not a number of bytes from 16 MiB to 4 TiB",
		  text);
	return error_hint(err, "for example: --max-size 68719476736");
}

static int apply(int option, const char *value, Options *options, const char **platform,
		 Error **err)
{
	switch (option) {
	case OPTION_LAYOUT:
		options_split_layout(value, &options->layout, &options->tag);
		return 0;
	case OPTION_BLOBS:
		str_assign(&options->blobs, value);
		return 0;
	case OPTION_TAR:
		strv_push(&options->tars, value);
		return 0;
	case OPTION_CONFIG:
		str_assign(&options->config, value);
		return 0;
	case OPTION_RUN_CONFIG:
		str_assign(&options->run_config, value);
		return 0;
	case OPTION_OUTPUT:
		str_assign(&options->output, value);
		return 0;
	case OPTION_MAX_SIZE:
		return parse_max_size(value, &options->max_bytes, err);
	case OPTION_PLATFORM:
		*platform = value;
		return 0;
	case OPTION_GUEST:
		str_assign(&options->guest, value);
		return 0;
	case OPTION_GUNZIP:
		options->deflate = deflate_library(value);
		if (options->deflate)
			return 0;
		error_set(err, ERR_USAGE, "there is no gzip library '%s'", value);
		return error_hint(err, "there is: %s", deflate_names);
	case OPTION_NO_SEED:
		options->no_seed = true;
		return 0;
	case OPTION_JSON:
		return 0;
	case OPTION_HELP:
		options->help = true;
		return 0;
	case OPTION_VERSION:
		options->version = true;
		return 0;
	default:
		return refuse(err, "an option is unknown or lacks its value%s", "");
	}
}

static int check(const Options *options, Error **err)
{
	if (!options->layout == !options->tars.count)
		return refuse(err, "name the image by either --layout or --tar%s", "");
	if ((options->config || options->run_config) && options->layout)
		return refuse(err, "a config goes with --tar, a layout has its own%s", "");
	if (options->config && options->run_config)
		return refuse(err, "--config and --run-config exclude each other%s", "");
	if (options->blobs && !options->layout)
		return refuse(err, "--blobs goes with --layout%s", "");
	if (options->guest && options->no_seed)
		return refuse(err, "--guest and --no-seed exclude each other%s", "");
	if (!options->output)
		return refuse(err, "--output is missing%s", "");
	return 0;
}

int options_parse(int argc, char *argv[], Options *out, Error **err)
{
	auto_options Options options = { .max_bytes = OPTIONS_DEFAULT_MAX_BYTES };
	const char *platform = NULL;
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		if (apply(option, optarg, &options, &platform, err) < 0)
			return -1;
	if (optind < argc)
		return refuse(err, "unexpected word '%s'", argv[optind]);
	if (!options.help && !options.version && check(&options, err) < 0)
		return -1;
	if (platform_parse(platform, &options.platform, err) < 0)
		return -1;
	*out = options;
	options = (Options){ 0 };
	return 0;
}
