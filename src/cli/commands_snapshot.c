/*
 * The part of THE table that is about snapshots.
 */
#include "cli/commands_snapshot.h"

const Cmd snapshot_commands[] = {
	{ "create", .args = "VM NAME", .min_args = 2, .max_args = 2,
	  .words = { WORD_VM, WORD_NEW_SNAPSHOT }, .flags = CMD_STATE, .run = cmd_snapshot_create,
	  .help = "Keep the disk of a VM as it is now, under a name",
	  .about =
		  "It is there in no time and takes space only for what changes. The VM may run: its\n"
		  "filesystems are frozen for that moment, so that a fork finds them at rest. Without\n"
		  "an agent in it the VM stands still instead, and the snapshot is what a power cut\n"
		  "leaves; the answer says which. Memory is not kept.",
	  .examples = "ember snapshot create web before-upgrade" },
	{ "restore", .args = "VM NAME", .min_args = 2, .max_args = 2,
	  .words = { WORD_VM, WORD_SNAPSHOT }, .flags = CMD_STATE, .run = cmd_snapshot_restore,
	  .help = "Make the disk of a stopped VM what it was",
	  .about =
		  "What was written since is gone, and the disk has the size that it had. The snapshot\n"
		  "stays, and so do later ones.",
	  .examples = "ember vm stop web\nember snapshot restore web before-upgrade" },
	{ "list", .alias = "ls", .args = "VM", .min_args = 1, .max_args = 1, .words = { WORD_VM },
	  .flags = CMD_STATE, .run = cmd_snapshot_list, .help = "List the snapshots of a VM",
	  .about = "SIZE is that of the disk as the guest sees it.",
	  .examples = "ember snapshot list web --format json | jq -r '.[].name'" },
	{ "delete", .alias = "rm", .args = "VM NAME...", .min_args = 2, .max_args = ARGS_ANY,
	  .words = { WORD_VM, WORD_SNAPSHOT }, .flags = CMD_STATE, .run = cmd_snapshot_delete,
	  .help = "Remove snapshots of a VM",
	  .about = "In any order. The VM, other snapshots and forks are not touched.",
	  .examples = "ember snapshot delete web before-upgrade" },
	{ 0 },
};
