/*
 * The part of THE table that is about images.
 */
#include "cli/commands_image.h"

static const Option build_options[] = {
	{ "file", 'f', OPTION_TEXT, FIELD(BuildArgs, file), .value = "FILE", .word = WORD_FILE,
	  .help = "Containerfile (CONTEXT's Containerfile or Dockerfile)" },
	{ "build-arg", 0, OPTION_KEYS, FIELD(BuildArgs, build_args), .value = "KEY[=value]",
	  .help = "Set an ARG of the Containerfile; repeat for more" },
	{ "target", 0, OPTION_TEXT, FIELD(BuildArgs, target), .value = "STAGE",
	  .help = "Stop at that stage of the Containerfile" },
	{ "platform", 0, OPTION_TEXT, FIELD(BuildArgs, platform), .value = "OS/ARCH",
	  .help = "Build for that platform (this host's)" },
	{ "no-cache", 0, OPTION_FLAG, FIELD(BuildArgs, no_cache),
	  .help = "Run every step, also those that were run before" },
	{ "engine", 0, OPTION_CHOICE, FIELD(BuildArgs, engine), .value = "ENGINE",
	  .choices = "buildah|podman|docker",
	  .help = "Build with buildah, podman or docker (the first installed)" },
	{ "variant", 0, OPTION_TEXT, FIELD(BuildArgs, variant), .value = "VARIANT",
	  .choices = "minbase|dev",
	  .help = "Built-in image: minbase, or dev with systemd and tools" },
	{ "package", 0, OPTION_KEYS, FIELD(BuildArgs, packages), .value = "PACKAGE",
	  .help = "Add a Debian package to it; repeat for more" },
	{ "suite", 0, OPTION_TEXT, FIELD(BuildArgs, suite), .value = "SUITE",
	  .help = "Release of Debian (bookworm)" },
	{ "mirror", 0, OPTION_TEXT, FIELD(BuildArgs, mirror), .value = "URL",
	  .help = "Where its packages come from (what this host's apt uses)" },
	{ "replace", 0, OPTION_FLAG, FIELD(BuildArgs, replace),
	  .help = "Replace an image of that name" },
	{ 0 },
};

static const Option pull_options[] = {
	{ "name", 0, OPTION_TEXT, FIELD(PullArgs, name), .value = "NAME", .word = WORD_NEW_IMAGE,
	  .help = "Local name (from the reference)" },
	{ "platform", 0, OPTION_TEXT, FIELD(PullArgs, platform), .value = "OS/ARCH",
	  .help = "Which of several platforms (this host's)" },
	{ "creds", 0, OPTION_TEXT, FIELD(PullArgs, creds), .value = "USER:PASSWORD",
	  .help = "Log in to the registry (EMBER_CREDS)" },
	{ "tls-verify", 0, OPTION_CHOICE, FIELD(PullArgs, tls_verify), .value = "BOOL",
	  .choices = "true|false", .help = "false: also plain HTTP and unknown certificates" },
	{ "refresh", 0, OPTION_FLAG, FIELD(PullArgs, refresh),
	  .help = "Fetch it again when the reference has moved" },
	{ "timeout", 0, OPTION_NUMBER, FIELD(PullArgs, timeout_s), .value = "SECONDS", .min = 1,
	  .max = SECONDS_MAX, .initial = 60, .help = "Give up when nothing moved for so long" },
	{ 0 },
};

static const Option prune_options[] = {
	{ "blobs", 0, OPTION_FLAG, FIELD(PruneArgs, blobs),
	  .help = "Only the cache of blobs; all images stay" },
	{ "dry-run", 0, OPTION_FLAG, FIELD(PruneArgs, dry_run),
	  .help = "Say what would be removed, and remove nothing" },
	{ "yes", 'y', OPTION_FLAG, FIELD(PruneArgs, yes), .help = "Do not ask" },
	{ 0 },
};

const Option export_options[] = {
	/* Not `format`, which every command has for its own answer. */
	{ "as", 0, OPTION_CHOICE, FIELD(ExportArgs, format), .value = "FORMAT",
	  .choices = "oci-archive|raw|qcow2",
	  .help = "oci-archive, raw or qcow2 (from FILE's name)" },
	{ "compress", 0, OPTION_FLAG, FIELD(ExportArgs, compress),
	  .help = "Compress a qcow2 file: smaller, but slower" },
	{ "force", 0, OPTION_FLAG, FIELD(ExportArgs, force), .help = "Replace FILE" },
	{ 0 },
};

static const Option push_options[] = {
	{ "creds", 0, OPTION_TEXT, FIELD(PushArgs, creds), .value = "USER:PASSWORD",
	  .help = "Log in to the registry (EMBER_CREDS)" },
	{ "tls-verify", 0, OPTION_CHOICE, FIELD(PushArgs, tls_verify), .value = "BOOL",
	  .choices = "true|false", .help = "false: also plain HTTP and unknown certificates" },
	{ "timeout", 0, OPTION_NUMBER, FIELD(PushArgs, timeout_s), .value = "SECONDS", .min = 1,
	  .max = SECONDS_MAX, .initial = 60, .help = "Give up when nothing moved for so long" },
	{ 0 },
};

static const Option import_options[] = {
	{ "tag", 0, OPTION_TEXT, FIELD(ImportArgs, tag), .value = "TAG",
	  .help = "Which of several images in an archive" },
	{ "platform", 0, OPTION_TEXT, FIELD(ImportArgs, platform), .value = "OS/ARCH",
	  .help = "Which of several platforms in an archive (this host's)" },
	{ "config", 0, OPTION_TEXT, FIELD(ImportArgs, config), .value = "FILE", .word = WORD_FILE,
	  .help = "OCI config to go with a bare root filesystem" },
	{ "replace", 0, OPTION_FLAG, FIELD(ImportArgs, replace),
	  .help = "Replace an image of that name" },
	{ 0 },
};

const Option commit_options[] = {
	{ "replace", 0, OPTION_FLAG, FIELD(CommitArgs, replace),
	  .help = "Replace an image of that name" },
	{ 0 },
};

const Cmd image_commands[] = {
	{ "build", .args = "NAME [CONTEXT]", .min_args = 1, .max_args = 2,
	  .words = { WORD_NEW_IMAGE, WORD_FILE }, OPTIONS(build_options, BuildArgs),
	  .flags = CMD_STATE, .run = cmd_image_build,
	  .help = "Build an image from a Containerfile, or the built-in Debian",
	  .about =
		  "With -f or CONTEXT buildah, podman or docker builds the image; COPY takes files from\n"
		  "CONTEXT, the working directory unless given. Without both it is the built-in Debian,\n"
		  "made from packages by mmdebstrap: neither root nor a container engine is needed.",
	  .examples = "ember image build debian\n"
		      "ember image build dev --variant dev --package postgresql\n"
		      "ember image build web ./web --build-arg VERSION=2" },
	{ "pull", .args = "REFERENCE...", .min_args = 1, .max_args = ARGS_ANY,
	  OPTIONS(pull_options, PullArgs), .flags = CMD_STATE, .run = cmd_image_pull,
	  .help = "Make an image from a registry, a layout or an archive",
	  .about =
		  "REFERENCE is what docker takes (alpine:3.19, ghcr.io/owner/name@sha256:...), or\n"
		  "oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE. An image that is here\n"
		  "already is left alone. Layers that images share are fetched once.",
	  .examples = "ember image pull alpine:3.19\n"
		      "ember image pull oci:build/layout:latest --name mine" },
	{ "import", .args = "NAME FILE", .min_args = 2, .max_args = 2,
	  .words = { WORD_NEW_IMAGE, WORD_FILE }, OPTIONS(import_options, ImportArgs),
	  .flags = CMD_STATE, .run = cmd_image_import,
	  .help = "Make an image of a tar, an archive or a disk",
	  .about =
		  "FILE is a tar of a root filesystem, what docker save or an OCI tool wrote, or a\n"
		  "disk with an ext4 filesystem, raw or qcow2; all of them compressed as well. What\n"
		  "it is shows in its contents, not in its name. - is standard input.",
	  .examples = "ember image import base rootfs.tar.xz\n"
		      "docker save app:1 | ember image import app -\n"
		      "ember image import cloud debian-12-generic-amd64.qcow2" },
	{ "export", .args = "IMAGE FILE", .min_args = 2, .max_args = 2,
	  .words = { WORD_IMAGE, WORD_FILE }, OPTIONS(export_options, ExportArgs),
	  .flags = CMD_STATE, .run = cmd_image_export,
	  .help = "Write an image into a file: an OCI archive or a disk",
	  .about =
		  "FILE is there when it is whole, or not at all. - is standard output, for an OCI\n"
		  "archive.",
	  .examples = "ember image export debian debian.tar\n"
		      "ember image export debian debian.qcow2 --compress\n"
		      "ember image export debian - | ssh other ember image import debian -" },
	{ "push", .args = "IMAGE REFERENCE", .min_args = 2, .max_args = 2, .words = { WORD_IMAGE },
	  OPTIONS(push_options, PushArgs), .flags = CMD_STATE, .run = cmd_image_push,
	  .help = "Upload an image to a registry",
	  .about =
		  "An image that was pulled leaves as it came, with the same digest; others become\n"
		  "one layer.",
	  .examples = "ember image push web registry.example.com/team/web:1.2" },
	{ "list", .alias = "ls", .max_args = 0, .flags = CMD_STATE, .run = cmd_image_list,
	  .help = "List images", .examples = "ember image list" },
	{ "inspect", .args = "IMAGE", .min_args = 1, .max_args = 1, .words = { WORD_IMAGE },
	  .flags = CMD_STATE, .run = cmd_image_inspect, .help = "Show all about one image",
	  .examples = "ember image inspect debian" },
	{ "rename", .args = "IMAGE NEW", .min_args = 2, .max_args = 2,
	  .words = { WORD_IMAGE, WORD_NEW_IMAGE }, .flags = CMD_STATE, .run = cmd_image_rename,
	  .help = "Give an image another name",
	  .about = "VMs that were made from it go on as they are.",
	  .examples = "ember image rename library-alpine-3.19 alpine" },
	{ "prune", .max_args = 0, OPTIONS(prune_options, PruneArgs), .flags = CMD_STATE,
	  .run = cmd_image_prune,
	  .help = "Remove images that no VM was made from, and cached blobs",
	  .about =
		  "Blobs are the layers that pull fetched. Without them the next pull fetches all of\n"
		  "its layers again; images and VMs do not need them.",
	  .examples = "ember image prune --dry-run\n"
		      "ember image prune --blobs" },
	{ "delete", .alias = "rm", .args = "IMAGE...", .min_args = 1, .max_args = ARGS_ANY,
	  .words = { WORD_IMAGE, WORD_IMAGE }, .flags = CMD_STATE, .run = cmd_image_delete,
	  .help = "Remove images that no VM was made from",
	  .examples = "ember image delete debian" },
	{ 0 },
};
