/*
 * The part of THE table that is about images.
 */
#include "cli/commands_image.h"

static const Option build_options[] = {
	{ "variant", 0, OPTION_TEXT, FIELD(BuildArgs, variant), .value = "VARIANT",
	  .help = "How much of Debian: minbase" },
	{ "suite", 0, OPTION_TEXT, FIELD(BuildArgs, suite), .value = "SUITE",
	  .help = "Release of Debian (bookworm)" },
	{ "mirror", 0, OPTION_TEXT, FIELD(BuildArgs, mirror), .value = "URL",
	  .help = "Where packages come from (mmdebstrap's own choice)" },
	{ 0 },
};

static const Option pull_options[] = {
	{ "name", 0, OPTION_TEXT, FIELD(PullArgs, name), .value = "NAME", .word = WORD_NEW_IMAGE,
	  .help = "Local name (from the reference)" },
	{ "platform", 0, OPTION_TEXT, FIELD(PullArgs, platform), .value = "OS/ARCH",
	  .help = "Which of several platforms (this host's)" },
	{ "creds", 0, OPTION_TEXT, FIELD(PullArgs, creds), .value = "USER:PASSWORD",
	  .help = "Log in to the registry" },
	{ "tls-verify", 0, OPTION_CHOICE, FIELD(PullArgs, tls_verify), .value = "BOOL",
	  .choices = "true|false", .help = "false: also plain HTTP and unknown certificates" },
	{ "refresh", 0, OPTION_FLAG, FIELD(PullArgs, refresh),
	  .help = "Fetch it again when the reference has moved" },
	{ 0 },
};

const Cmd image_commands[] = {
	{ "build", .args = "NAME", .min_args = 1, .max_args = 1, .words = { WORD_NEW_IMAGE },
	  OPTIONS(build_options, BuildArgs), .flags = CMD_STATE, .run = cmd_image_build,
	  .help = "Make the built-in Debian image from Debian packages",
	  .about = "mmdebstrap makes the root filesystem; neither root nor a container engine is\n"
		   "needed.",
	  .examples = "ember image build debian" },
	{ "pull", .args = "REFERENCE", .min_args = 1, .max_args = 1,
	  OPTIONS(pull_options, PullArgs), .flags = CMD_STATE, .run = cmd_image_pull,
	  .help = "Make an image from a registry, a layout or an archive",
	  .about =
		  "REFERENCE is what docker takes (alpine:3.19, ghcr.io/owner/name@sha256:...), or\n"
		  "oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE. An image that is here\n"
		  "already is left alone.",
	  .examples = "ember image pull alpine:3.19\n"
		      "ember image pull oci:build/layout:latest --name mine" },
	{ "list", .alias = "ls", .max_args = 0, .flags = CMD_STATE, .run = cmd_image_list,
	  .help = "List images", .examples = "ember image list" },
	{ "inspect", .args = "IMAGE", .min_args = 1, .max_args = 1, .words = { WORD_IMAGE },
	  .flags = CMD_STATE, .run = cmd_image_inspect, .help = "Show all about one image",
	  .examples = "ember image inspect debian" },
	{ "delete", .alias = "rm", .args = "IMAGE...", .min_args = 1, .max_args = ARGS_ANY,
	  .words = { WORD_IMAGE, WORD_IMAGE }, .flags = CMD_STATE, .run = cmd_image_delete,
	  .help = "Remove images that no VM was made from",
	  .examples = "ember image delete debian" },
	{ 0 },
};
