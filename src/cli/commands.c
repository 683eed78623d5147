/*
 * THE table. A line of help is a phrase without a full stop; what it leaves out is in `about`.
 */
#include "cli/commands.h"
#include "cli/commands_image.h"
#include "cli/commands_kernel.h"
#include "cli/commands_snapshot.h"
#include "cli/commands_storage.h"

/* Only to keep it in range; what a VM can have is for the operation to say. */
#define CPUS_MAX INT32_MAX

const Option global_options[] = {
	{ "state-dir", 's', OPTION_TEXT, FIELD(Globals, state_dir), .value = "DIR",
	  .word = WORD_FILE, .help = "Keep everything below DIR (EMBER_STATE_DIR)" },
	{ "format", 0, OPTION_CHOICE, FIELD(Globals, format), .value = "FORMAT",
	  .choices = "table|json",
	  .help = "How results are printed: table or json (EMBER_FORMAT)" },
	{ "quiet", 'q', OPTION_FLAG, FIELD(Globals, quiet),
	  .help = "No progress and no success messages" },
	{ "verbose", 'v', OPTION_FLAG, FIELD(Globals, verbose),
	  .help = "Print every step and how long it took" },
	{ "no-color", 0, OPTION_FLAG, FIELD(Globals, no_color), .help = "No colours (NO_COLOR)" },
	{ "version", 0, OPTION_FLAG, FIELD(Globals, version), .help = "Print the version" },
	{ "help", 'h', OPTION_FLAG, FIELD(Globals, help), .help = "Print help for a command" },
	{ 0 },
};

static const Option init_options[] = {
	{ "storage", 0, OPTION_TEXT, FIELD(InitArgs, storage), .value = "KIND",
	  .choices = "auto|reflink|btrfs|xfs|dm-thin|qcow2|zfs",
	  .help = "How disks are kept: auto (the first that works here) or a kind" },
	{ "storage-path", 0, OPTION_TEXT, FIELD(InitArgs, storage_path), .value = "PATH",
	  .word = WORD_FILE, .help = "File or device of a store of ember's own" },
	{ "size", 0, OPTION_BYTES, FIELD(InitArgs, size_bytes), .value = "SIZE",
	  .help = "Size of the file of a store of ember's own (64G, sparse)" },
	{ "pool", 0, OPTION_TEXT, FIELD(InitArgs, pool), .value = "POOL",
	  .help = "ZFS pool to use, or to make on --device" },
	{ "device", 0, OPTION_TEXT, FIELD(InitArgs, device), .value = "DEVICE", .word = WORD_FILE,
	  .help = "Empty block device to make the store on" },
	{ "dataset", 0, OPTION_TEXT, FIELD(InitArgs, dataset), .value = "NAME",
	  .help = "ZFS dataset below which everything is made" },
	{ "kernel", 0, OPTION_TEXT, FIELD(InitArgs, kernel), .value = "KERNEL", .word = WORD_KERNEL,
	  .help = "Default kernel: stock, a name, or the path of one" },
	{ "hypervisor", 0, OPTION_TEXT, FIELD(InitArgs, hypervisor), .value = "NAME",
	  .choices = "auto|qemu", .help = "auto or qemu" },
	{ "network", 0, OPTION_TEXT, FIELD(InitArgs, network), .value = "NAME",
	  .choices = "auto|user|none", .help = "Default network of a VM: auto, user or none" },
	{ "instance-id", 0, OPTION_TEXT, FIELD(InitArgs, instance_id), .value = "HEX4",
	  .help = "Four hex digits that mark what belongs to this installation" },
	{ 0 },
};

static const Option deinit_options[] = {
	{ "purge", 0, OPTION_FLAG, FIELD(DeinitArgs, purge),
	  .help = "Delete images, kernels and the store too" },
	{ 0 },
};

static const Option reconcile_options[] = {
	{ "dry-run", 0, OPTION_FLAG, FIELD(ReconcileArgs, dry_run),
	  .help = "Only say what would be done" },
	{ 0 },
};

static const Option create_options[] = {
	{ "image", 0, OPTION_TEXT, .is_required = true, FIELD(CreateArgs, image), .value = "IMAGE",
	  .word = WORD_IMAGE, .help = "Image to start from: a local name or a reference" },
	{ "cpus", 0, OPTION_NUMBER, FIELD(CreateArgs, cpus), .value = "N", .min = 1,
	  .max = CPUS_MAX, .initial = 1, .help = "Virtual CPUs" },
	{ "memory", 0, OPTION_MIB, FIELD(CreateArgs, memory_mib), .value = "SIZE",
	  .help = "Memory (1G)" },
	{ "disk-size", 0, OPTION_MIB, FIELD(CreateArgs, disk_size_mib), .value = "SIZE",
	  .help = "Size of the disk (8G)" },
	{ "kernel", 0, OPTION_TEXT, FIELD(CreateArgs, kernel), .value = "KERNEL",
	  .word = WORD_KERNEL, .help = "Kernel to boot: a name or a path" },
	{ "network", 0, OPTION_TEXT, FIELD(CreateArgs, network), .value = "MODE",
	  .choices = "user|none", .help = "user: out to the world through this host; none" },
	{ "hypervisor", 0, OPTION_TEXT, FIELD(CreateArgs, hypervisor), .value = "NAME",
	  .choices = "auto|qemu", .help = "auto or qemu" },
	{ "boot-args", 0, OPTION_TEXT, .may_be_empty = true, FIELD(CreateArgs, boot_args),
	  .value = "TEXT", .help = "Added to the kernel's command line" },
	{ "user", 0, OPTION_TEXT, FIELD(CreateArgs, user), .value = "USER",
	  .help = "Who runs what ember exec is given" },
	{ "env", 'e', OPTION_PAIRS, FIELD(CreateArgs, env), .value = "KEY=value",
	  .help = "Environment of every ember exec; may be repeated" },
	{ "run-cmd", 0, OPTION_FLAG, FIELD(CreateArgs, run_cmd),
	  .help = "Run the image's own command at each boot" },
	{ "label", 0, OPTION_PAIRS, FIELD(CreateArgs, labels), .value = "KEY=value",
	  .help = "A label to list by; may be repeated" },
	{ "pull", 0, OPTION_FLAG, FIELD(CreateArgs, pull),
	  .help = "Fetch the image when it is not here" },
	{ "no-start", 0, OPTION_FLAG, FIELD(CreateArgs, no_start), .help = "Do not boot it" },
	{ "wait", 0, OPTION_FLAG, FIELD(CreateArgs, wait),
	  .help = "Return when commands can be run in it" },
	{ "wait-timeout", 0, OPTION_NUMBER, FIELD(CreateArgs, wait_timeout_s), .value = "SECONDS",
	  .min = 1, .max = SECONDS_MAX, .initial = 120, .help = "How long --wait waits" },
	{ 0 },
};

static const Option fork_options[] = {
	{ "cpus", 0, OPTION_NUMBER, FIELD(ForkArgs, cpus), .value = "N", .min = 1, .max = CPUS_MAX,
	  .initial = -1, .help = "Virtual CPUs of the fork" },
	{ "memory", 0, OPTION_MIB, FIELD(ForkArgs, memory_mib), .value = "SIZE",
	  .help = "Memory of the fork" },
	{ "disk-size", 0, OPTION_MIB, FIELD(ForkArgs, disk_size_mib), .value = "SIZE",
	  .help = "Grow its disk to SIZE" },
	{ "kernel", 0, OPTION_TEXT, FIELD(ForkArgs, kernel), .value = "KERNEL", .word = WORD_KERNEL,
	  .help = "Kernel of the fork: a name or a path" },
	{ "network", 0, OPTION_TEXT, FIELD(ForkArgs, network), .value = "MODE",
	  .choices = "user|none", .help = "Network of the fork: user or none" },
	{ "no-start", 0, OPTION_FLAG, FIELD(ForkArgs, no_start), .help = "Do not boot it" },
	{ 0 },
};

static const Option stop_options[] = {
	{ "force", 0, OPTION_FLAG, FIELD(ManyArgs, force), .help = "Pull the plug at once" },
	{ "timeout", 0, OPTION_NUMBER, FIELD(ManyArgs, timeout_s), .value = "SECONDS", .min = 1,
	  .max = SECONDS_MAX, .initial = -1,
	  .help = "Pull the plug when it still runs after that (20)" },
	{ "all", 0, OPTION_FLAG, FIELD(ManyArgs, all), .help = "All VMs that run" },
	{ 0 },
};

static const Option start_options[] = {
	{ "all", 0, OPTION_FLAG, FIELD(ManyArgs, all), .help = "All VMs that do not run" },
	{ 0 },
};

static const Option restart_options[] = {
	{ "force", 0, OPTION_FLAG, FIELD(ManyArgs, force), .help = "Pull the plug at once" },
	{ "timeout", 0, OPTION_NUMBER, FIELD(ManyArgs, timeout_s), .value = "SECONDS", .min = 1,
	  .max = SECONDS_MAX, .initial = -1,
	  .help = "Pull the plug when it still runs after that (20)" },
	{ 0 },
};

static const Option resize_options[] = {
	{ "disk-size", 0, OPTION_MIB, .is_required = true, FIELD(ResizeArgs, disk_size_mib),
	  .value = "SIZE", .help = "The new size of the disk, larger than it is" },
	{ 0 },
};

static const Option update_options[] = {
	{ "cpus", 0, OPTION_NUMBER, FIELD(UpdateArgs, cpus), .value = "N", .min = 1,
	  .max = CPUS_MAX, .initial = -1, .help = "Virtual CPUs",
	  .group = "The machine, from its next boot on" },
	{ "memory", 0, OPTION_MIB, FIELD(UpdateArgs, memory_mib), .value = "SIZE",
	  .help = "Memory" },
	{ "kernel", 0, OPTION_TEXT, .may_be_empty = true, FIELD(UpdateArgs, kernel),
	  .value = "KERNEL", .word = WORD_KERNEL, .help = "Kernel to boot: a name or a path" },
	{ "network", 0, OPTION_TEXT, .may_be_empty = true, FIELD(UpdateArgs, network),
	  .value = "MODE", .choices = "user|none",
	  .help = "user: out to the world through this host; none" },
	{ "hypervisor", 0, OPTION_TEXT, .may_be_empty = true, FIELD(UpdateArgs, hypervisor),
	  .value = "NAME", .choices = "auto|qemu", .help = "auto or qemu" },
	{ "boot-args", 0, OPTION_TEXT, .may_be_empty = true, FIELD(UpdateArgs, boot_args),
	  .value = "TEXT", .help = "Added to the kernel's command line" },
	{ "user", 0, OPTION_TEXT, .may_be_empty = true, FIELD(UpdateArgs, user), .value = "USER",
	  .help = "Who runs what ember exec is given",
	  .group = "What runs in it, from its next boot on" },
	{ "ssh-user", 0, OPTION_TEXT, .may_be_empty = true, FIELD(UpdateArgs, ssh_user),
	  .value = "USER", .help = "Who logs in over ssh" },
	{ "ssh-key", 0, OPTION_TEXT, .may_be_empty = true, FIELD(UpdateArgs, ssh_key),
	  .value = "FILE", .word = WORD_FILE, .help = "Private key to log in with" },
	{ "env", 'e', OPTION_EDITS, FIELD(UpdateArgs, env), .value = "KEY=value",
	  .help = "Environment of every ember exec; KEY- removes; may be repeated" },
	{ "label", 0, OPTION_EDITS, FIELD(UpdateArgs, labels), .value = "KEY=value",
	  .help = "A label to list by; KEY- removes it; may be repeated", .group = "At any time" },
	{ 0 },
};

static const Option delete_options[] = {
	{ "force", 0, OPTION_FLAG, FIELD(ManyArgs, force), .help = "Also VMs that run" },
	{ "all", 0, OPTION_FLAG, FIELD(ManyArgs, all), .help = "All VMs" },
	{ 0 },
};

static const Option list_options[] = {
	{ "status", 0, OPTION_CHOICES, FIELD(ListArgs, status), .value = "STATUS",
	  .choices = "created|starting|running|paused|suspended|stopped|broken",
	  .help = "Only VMs in that state; may be repeated" },
	{ "label", 0, OPTION_KEYS, FIELD(ListArgs, labels), .value = "KEY[=value]",
	  .help = "Only VMs with that label; all of them when repeated" },
	{ 0 },
};

static const Option logs_options[] = {
	{ "follow", 'f', OPTION_FLAG, FIELD(LogsArgs, follow),
	  .help = "Go on with what comes, until the VM stops" },
	{ "tail", 'n', OPTION_NUMBER, FIELD(LogsArgs, tail), .value = "N", .min = 0,
	  .max = INT32_MAX, .initial = -1, .help = "Only the last N lines" },
	{ 0 },
};

static const Option wait_options[] = {
	{ "for", 0, OPTION_CHOICE, FIELD(WaitArgs, what), .value = "WHAT",
	  .choices = "ready|stopped",
	  .help = "ready: commands can be run in it (the default); stopped" },
	{ "timeout", 0, OPTION_NUMBER, FIELD(WaitArgs, timeout_s), .value = "SECONDS", .min = 1,
	  .max = SECONDS_MAX, .initial = -1,
	  .help = "How long to wait (ready: 120, stopped: no limit)" },
	{ 0 },
};

static const Option exec_options[] = {
	{ "interactive", 'i', OPTION_FLAG, FIELD(ExecArgs, interactive),
	  .help = "Connect stdin also when it is a terminal" },
	{ "env", 'e', OPTION_PAIRS, FIELD(ExecArgs, env), .value = "KEY=value",
	  .help = "Environment of the command; may be repeated" },
	{ "workdir", 'w', OPTION_TEXT, FIELD(ExecArgs, workdir), .value = "DIR",
	  .help = "Directory in the guest to run it in" },
	{ "user", 'u', OPTION_TEXT, FIELD(ExecArgs, user), .value = "USER[:GROUP]",
	  .help = "Who runs it, by the guest's names or numbers" },
	{ "wait", 0, OPTION_NUMBER, FIELD(ExecArgs, wait_s), .value = "SECONDS", .min = 0,
	  .max = SECONDS_MAX, .initial = 30, .help = "How long to wait for the guest's agent" },
	{ 0 },
};

static const Cmd vm_commands[] = {
	{ "create", .args = "NAME", .min_args = 1, .max_args = 1, .words = { WORD_NEW_VM },
	  OPTIONS(create_options, CreateArgs), .flags = CMD_STATE, .run = cmd_vm_create,
	  .help = "Make a VM from an image and boot it",
	  .about = "The disk is a copy-on-write clone of the image: it is there in no time and\n"
		   "takes space only for what changes. Without an installation, one is made with\n"
		   "automatic choices first.",
	  .examples = "ember vm create web --image debian --wait\n"
		      "ember vm create db --image debian --cpus 2 --memory 2G --disk-size 20G\n"
		      "ember vm create box --image docker.io/library/alpine:3.19 --pull" },
	{ "start", .args = "NAME...", .min_args = 0, .max_args = ARGS_ANY,
	  .words = { WORD_VM, WORD_VM }, OPTIONS(start_options, ManyArgs), .flags = CMD_STATE,
	  .run = cmd_vm_start, .help = "Boot VMs", .examples = "ember vm start web db" },
	{ "stop", .args = "NAME...", .min_args = 0, .max_args = ARGS_ANY,
	  .words = { WORD_VM, WORD_VM }, OPTIONS(stop_options, ManyArgs), .flags = CMD_STATE,
	  .run = cmd_vm_stop, .help = "Shut VMs down",
	  .about = "The guest is asked to shut down and gets some time for it; then, or at once\n"
		   "with --force, the plug is pulled.",
	  .examples = "ember vm stop web\nember vm stop --all --timeout 5" },
	{ "restart", .args = "NAME...", .min_args = 1, .max_args = ARGS_ANY,
	  .words = { WORD_VM, WORD_VM }, OPTIONS(restart_options, ManyArgs), .flags = CMD_STATE,
	  .run = cmd_vm_restart, .help = "Shut VMs down and boot them again",
	  .examples = "ember vm restart web" },
	{ "fork", .alias = "cp", .args = "SOURCE NAME", .min_args = 2, .max_args = 2,
	  .words = { WORD_SOURCE, WORD_NEW_VM }, OPTIONS(fork_options, ForkArgs),
	  .flags = CMD_STATE, .run = cmd_vm_fork,
	  .help = "Make a VM that begins as a copy of a stopped one",
	  .about = "The new VM shares all blocks of its source's disk until one of them writes.\n"
		   "It has its own name, address and identity. SOURCE may be a snapshot, VM@NAME,\n"
		   "also of a VM that runs.",
	  .examples = "ember vm fork web web-2\nember vm fork web big --memory 4G --no-start\n"
		      "ember vm fork web@before-upgrade try" },
	{ "commit", .args = "VM IMAGE", .min_args = 2, .max_args = 2,
	  .words = { WORD_VM, WORD_NEW_IMAGE }, OPTIONS(commit_options, CommitArgs),
	  .flags = CMD_STATE, .run = cmd_vm_commit, .help = "Make an image of a stopped VM",
	  .about =
		  "The image shares all blocks of the VM's disk, so it is there in no time. VMs that\n"
		  "are made from it have names, addresses and identities of their own.",
	  .examples = "ember vm commit web web-base\nember vm create web-2 --image web-base" },
	{ "export", .args = "VM FILE", .min_args = 2, .max_args = 2,
	  .words = { WORD_VM, WORD_FILE }, OPTIONS(export_options, ExportArgs), .flags = CMD_STATE,
	  .run = cmd_vm_export, .help = "Write the disk of a stopped VM into a file",
	  .about =
		  "A disk, raw or qcow2, or an OCI archive with the files on it. FILE is there when\n"
		  "it is whole, or not at all. - is standard output, for an OCI archive.",
	  .examples =
		  "ember vm export web web.qcow2\nember vm export web - --as oci-archive >web.tar" },
	{ "resize", .args = "NAME", .min_args = 1, .max_args = 1, .words = { WORD_VM },
	  OPTIONS(resize_options, ResizeArgs), .flags = CMD_STATE, .run = cmd_vm_resize,
	  .help = "Give a VM a larger disk, also while it runs",
	  .about =
		  "The guest grows its filesystem at once when it runs and its agent answers, else at\n"
		  "its next boot. No space is taken before the guest writes. A disk cannot shrink.",
	  .examples = "ember vm resize web --disk-size 20G" },
	{ "update-config", .alias = "update", .args = "NAME", .min_args = 1, .max_args = 1,
	  .words = { WORD_VM }, OPTIONS(update_options, UpdateArgs), .flags = CMD_STATE,
	  .run = cmd_vm_update, .help = "Change the settings of a stopped VM",
	  .about =
		  "An empty text (--kernel \"\") takes a setting back to its default;\n"
		  "--cpus and --memory take numbers only. Labels alone can be changed while it runs, too.",
	  .examples =
		  "ember vm update-config web --cpus 2 --memory 2G\n"
		  "ember vm update-config web --boot-args \"\" --label tier=front --label old-" },
	{ "rename", .args = "NAME NEW", .min_args = 2, .max_args = 2,
	  .words = { WORD_VM, WORD_NEW_VM }, .flags = CMD_STATE, .run = cmd_vm_rename,
	  .help = "Give a stopped VM another name",
	  .about =
		  "Its disk, its address and what it wrote to its console stay with it. At its next\n"
		  "boot it becomes the guest's host name too, unless the guest has chosen one itself.",
	  .examples = "ember vm rename web shop" },
	{ "delete", .alias = "rm", .args = "NAME...", .min_args = 0, .max_args = ARGS_ANY,
	  .words = { WORD_VM, WORD_VM }, OPTIONS(delete_options, ManyArgs), .flags = CMD_STATE,
	  .run = cmd_vm_delete, .help = "Remove VMs and their disks",
	  .about =
		  "Their snapshots go with them. A VM that runs is removed only with --force. Forks\n"
		  "are not touched.",
	  .examples = "ember vm delete web\nember vm delete --all --force" },
	{ "list", .alias = "ls", .max_args = 0, OPTIONS(list_options, ListArgs), .flags = CMD_STATE,
	  .run = cmd_vm_list, .help = "List VMs",
	  .examples = "ember vm list --status running\n"
		      "ember vm list --format json | jq -r '.[].name'" },
	{ "tree", .max_args = 0, .flags = CMD_STATE, .run = cmd_vm_tree,
	  .help = "Show which VMs came from which images and VMs",
	  .about =
		  "With what each has to itself in the store. A VM or image that was removed stands\n"
		  "there as long as something that came from it is left.",
	  .examples = "ember vm tree" },
	{ "inspect", .args = "NAME", .min_args = 1, .max_args = 1, .words = { WORD_VM },
	  .flags = CMD_STATE, .run = cmd_vm_inspect, .help = "Show all about one VM",
	  .examples = "ember vm inspect web --format json" },
	{ "logs", .args = "NAME", .min_args = 1, .max_args = 1, .words = { WORD_VM },
	  OPTIONS(logs_options, LogsArgs), .flags = CMD_STATE, .run = cmd_vm_logs,
	  .help = "Show what a VM wrote to its console",
	  .about = "On a terminal, control sequences of the guest are left out.",
	  .examples = "ember vm logs web --tail 20 --follow" },
	{ "wait", .args = "NAME", .min_args = 1, .max_args = 1, .words = { WORD_VM },
	  OPTIONS(wait_options, WaitArgs), .flags = CMD_STATE, .run = cmd_vm_wait,
	  .help = "Wait until a VM is ready or has stopped",
	  .examples = "ember vm wait web --for stopped --timeout 60" },
	{ 0 },
};

#define GROUP_MACHINES "Machines"
#define GROUP_PARTS    "What machines are made of"
#define GROUP_SYSTEM   "This installation"

static const Cmd commands[] = {
	{ "vm", .children = vm_commands, .group = GROUP_MACHINES,
	  .help = "Make, fork, run and remove VMs" },
	{ "snapshot", .children = snapshot_commands, .group = GROUP_MACHINES,
	  .help = "Keep the disks of VMs as they are, and go back to that" },
	{ "exec", .args = "NAME [--] COMMAND [ARG...]", .min_args = 2, .max_args = ARGS_ANY,
	  .words = { WORD_VM }, OPTIONS(exec_options, ExecArgs),
	  .flags = CMD_STATE | CMD_TAKES_REST | CMD_GUEST_STATUS, .run = cmd_exec,
	  .group = GROUP_MACHINES, .help = "Run a command in a VM",
	  .about =
		  "Options of ember stand before NAME; all that follows it is the command. The\n"
		  "exit status is that of the command, 128+n when signal n killed it, 126 when it\n"
		  "cannot be run, 127 when it is not there, and 125 when ember itself failed.",
	  .examples = "ember exec web -- uname -a\n"
		      "ember exec -w /srv -e LANG=C web make\n"
		      "tar c src | ember exec web -- tar x -C /srv" },
	{ "cp", .args = "SOURCE DESTINATION", .min_args = 2, .max_args = 2,
	  .words = { WORD_GUEST, WORD_GUEST }, .flags = CMD_STATE, .run = cmd_cp,
	  .group = GROUP_MACHINES, .help = "Copy a file into a VM or out of it",
	  .about = "One side is VM:PATH, the other a local path, or - for stdin or stdout.",
	  .examples = "ember cp app.conf web:/etc/app.conf\nember cp web:/var/log/syslog -" },
	{ "image", .children = image_commands, .group = GROUP_PARTS,
	  .help = "Make, pull, push, list and remove images" },
	{ "kernel", .children = kernel_commands, .group = GROUP_PARTS,
	  .help = "Build, add, choose and remove kernels" },
	{ "storage", .children = storage_commands, .group = GROUP_PARTS,
	  .help = "Look after the store that disks are kept in" },
	{ "init", .max_args = 0, OPTIONS(init_options, InitArgs), .flags = CMD_STATE,
	  .run = cmd_init, .group = GROUP_SYSTEM, .help = "Set up the state directory",
	  .about =
		  "Not needed in most cases: the first command that makes something does the same\n"
		  "with automatic choices. --pool or --device alone means --storage zfs.",
	  .examples =
		  "ember init\nember init --storage btrfs --size 100G\nember init --pool tank" },
	{ "deinit", .max_args = 0, OPTIONS(deinit_options, DeinitArgs), .flags = CMD_STATE,
	  .run = cmd_deinit, .group = GROUP_SYSTEM, .help = "Take the installation down",
	  .about = "Refused while VMs exist. Images, kernels and the store stay for a later init,\n"
		   "unless --purge is given.",
	  .examples = "ember deinit --purge" },
	{ "doctor", .max_args = 0, .flags = CMD_STATE, .run = cmd_doctor, .group = GROUP_SYSTEM,
	  .help = "Check whether this host can run VMs, and say how to mend it",
	  .examples = "ember doctor" },
	{ "info", .max_args = 0, .flags = CMD_STATE, .run = cmd_info, .group = GROUP_SYSTEM,
	  .help = "Show what this installation is and holds", .examples = "ember info" },
	{ "reconcile", .max_args = 0, OPTIONS(reconcile_options, ReconcileArgs), .flags = CMD_STATE,
	  .run = cmd_reconcile, .group = GROUP_SYSTEM,
	  .help = "Compare the records with the world and mend what differs",
	  .about = "Finishes what a killed command left half done and removes what nobody owns.",
	  .examples = "ember reconcile --dry-run" },
	{ "debug", .children = debug_commands, .group = GROUP_SYSTEM,
	  .help = "Look closer at how well this installation does" },
	{ "version", .max_args = 0, .run = cmd_version, .group = GROUP_SYSTEM,
	  .help = "Print the version", .examples = "ember version" },
	{ "completion", .args = "bash|zsh|fish", .min_args = 1, .max_args = 1,
	  .words = { WORD_SHELL }, .run = cmd_completion, .group = GROUP_SYSTEM,
	  .help = "Print the completion script of a shell",
	  .examples = "source <(ember completion bash)" },
	{ "help", .args = "[COMMAND...]", .max_args = CMD_PATH_WORDS,
	  .words = { WORD_COMMAND, WORD_COMMAND }, .run = cmd_help, .group = GROUP_SYSTEM,
	  .help = "Print help for a command", .examples = "ember help vm create" },
	{ "__complete", .args = "WORD...", .max_args = ARGS_ANY, .flags = CMD_HIDDEN,
	  .run = cmd_complete, .help = "What the last word can be" },
	{ "__commands", .max_args = 0, .flags = CMD_HIDDEN, .run = cmd_dump_commands,
	  .help = "Every command and option, for scripts/check-docs" },
	{ "__errors", .max_args = 0, .flags = CMD_HIDDEN, .run = cmd_dump_errors,
	  .help = "Every error code, for scripts/check-docs" },
	{ 0 },
};

const Cmd root_cmd = {
	.name = "ember",
	.children = commands,
	.help = "Make, fork and run microVMs, without a daemon",
};
