/*
 * The part of THE table that is about the store.
 */
#include "cli/commands_storage.h"

static const Option grow_options[] = {
	{ "size", 0, OPTION_BYTES, .is_required = true, FIELD(StorageGrowArgs, size_bytes),
	  .value = "SIZE", .help = "What the store is to have, all in all" },
	{ 0 },
};

const Cmd storage_commands[] = {
	{ "usage", .alias = "df", .max_args = 0, .flags = CMD_STATE, .run = cmd_storage_usage,
	  .help = "Show who uses which bytes of the store",
	  .about = "EXCLUSIVE is what nothing else reaches, SHARED what others reach too. A VM is\n"
		   "counted with its snapshots. A figure that cannot be known is \"-\".",
	  .examples = "ember storage usage\n"
		      "ember storage usage --format json | jq .vms.web.exclusive" },
	{ "grow", .max_args = 0, OPTIONS(grow_options, StorageGrowArgs), .flags = CMD_STATE,
	  .run = cmd_storage_grow, .help = "Make the store itself larger",
	  .about =
		  "For stores in a file or on a device of their own. VMs may run meanwhile. What is\n"
		  "added must be free on the host. A store never shrinks.",
	  .examples = "ember storage grow --size 200G" },
	{ "trim", .args = "[VM...]", .min_args = 0, .max_args = ARGS_ANY,
	  .words = { WORD_VM, WORD_VM }, .flags = CMD_STATE, .run = cmd_storage_trim,
	  .help = "Give space that nobody uses back to the host",
	  .about =
		  "The guests of these VMs, or of all that run, say which blocks of their disks hold\n"
		  "nothing any more; then the store gives back what no disk uses.",
	  .examples = "ember storage trim\nember storage trim web" },
	{ "optimize", .args = "[VM...]", .min_args = 0, .max_args = ARGS_ANY,
	  .words = { WORD_VM, WORD_VM }, .flags = CMD_STATE, .run = cmd_storage_optimize,
	  .help = "Make disks of many layers fast again",
	  .about =
		  "The disks of these VMs, or of all that do not run, and of images. Only where copies are\n"
		  "layers (qcow2) is there anything to do, and it is done by itself after a stop. A VM\n"
		  "may be started at any time: that ends the work on its disk.",
	  .examples = "ember storage optimize\nember storage optimize web" },
	{ 0 },
};

const Cmd debug_commands[] = {
	{ "storage-efficiency", .max_args = 0, .flags = CMD_STATE,
	  .run = cmd_debug_storage_efficiency,
	  .help = "Report what holes, compression and sharing save",
	  .about = "The figures of ember storage usage, summed up.",
	  .examples = "ember debug storage-efficiency" },
	{ 0 },
};
