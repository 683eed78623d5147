/*
 * The part of THE table that is about kernels.
 */
#include "cli/commands_kernel.h"

#define JOBS_MAX 1024

static const Option build_options[] = {
	{ "jobs", 'j', OPTION_NUMBER, FIELD(KernelBuildArgs, jobs), .value = "N", .min = 0,
	  .max = JOBS_MAX, .initial = 0, .help = "Compilers at a time, 0: one for each processor" },
	{ "config", 0, OPTION_TEXT, FIELD(KernelBuildArgs, config), .value = "FILE",
	  .word = WORD_FILE, .help = "Options to add to ember's, or to take out" },
	{ "source", 0, OPTION_TEXT, FIELD(KernelBuildArgs, source), .value = "PATH",
	  .word = WORD_FILE,
	  .help = "Directory or tarball of another source (the distribution's)" },
	{ "refresh", 0, OPTION_FLAG, FIELD(KernelBuildArgs, refresh),
	  .help = "Ask the distribution's archive for a newer source" },
	{ "default", 0, OPTION_FLAG, FIELD(KernelBuildArgs, make_default),
	  .help = "Make it the default kernel too" },
	{ "yes", 'y', OPTION_FLAG, FIELD(KernelBuildArgs, yes),
	  .help = "For scripts: nothing is asked in any case" },
	{ 0 },
};

static const Option add_options[] = {
	{ "initrd", 0, OPTION_TEXT, FIELD(KernelAddArgs, initrd), .value = "FILE",
	  .word = WORD_FILE, .help = "Initramfs that it boots with (none)" },
	{ "default", 0, OPTION_FLAG, FIELD(KernelAddArgs, make_default),
	  .help = "Make it the default kernel too" },
	{ 0 },
};

const Cmd kernel_commands[] = {
	{ "list", .alias = "ls", .max_args = 0, .flags = CMD_STATE, .run = cmd_kernel_list,
	  .help = "List kernels", .examples = "ember kernel list" },
	{ "build", .args = "[NAME]", .min_args = 0, .max_args = 1, .words = { WORD_KERNEL_NAME },
	  OPTIONS(build_options, KernelBuildArgs), .flags = CMD_STATE, .run = cmd_kernel_build,
	  .help = "Compile a kernel that boots without an initramfs",
	  .about =
		  "The distribution's kernel source with ember's configuration, in which all that a\n"
		  "microVM needs is built in. It takes minutes once; the same again takes none. NAME\n"
		  "is ember unless given.",
	  .examples = "ember kernel build --default\n"
		      "ember kernel build wg --config wireguard.fragment" },
	{ "add", .args = "NAME FILE", .min_args = 2, .max_args = 2,
	  .words = { WORD_ANY, WORD_FILE }, OPTIONS(add_options, KernelAddArgs), .flags = CMD_STATE,
	  .run = cmd_kernel_add, .help = "Copy a kernel in: vmlinux, bzImage or arm64 Image",
	  .examples = "ember kernel add mine linux/vmlinux" },
	{ "delete", .alias = "rm", .args = "NAME...", .min_args = 1, .max_args = ARGS_ANY,
	  .words = { WORD_KERNEL_NAME, WORD_KERNEL_NAME }, .flags = CMD_STATE,
	  .run = cmd_kernel_delete, .help = "Remove kernels that no VM names",
	  .about = "The stock kernel can always be removed: it comes again when it is needed.",
	  .examples = "ember kernel delete mine" },
	{ "default", .args = "KERNEL", .min_args = 1, .max_args = 1, .words = { WORD_KERNEL },
	  .flags = CMD_STATE, .run = cmd_kernel_default,
	  .help = "Choose what VMs boot that name no kernel",
	  .about = "A name, stock, or the path of a file. It counts from their next start on.",
	  .examples = "ember kernel default ember" },
	{ 0 },
};
