/*
 * A virtual machine as ember records it. Data only: no I/O, no JSON (state/records.h does that).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/image.h"
#include "util/error.h"
#include "util/process.h"
#include "util/str.h"

/*
 *   created --start--> starting --> running <--> paused
 *                          |            |           |
 *   (tmp/, trash/)         +-------> stopped <------+     suspended
 *
 * A VM that is being made or removed is in no state: it lies in tmp/ or trash/ (state/store.h), where nobody lists it.
 * vm_set_state() knows the allowed transitions.
 */
typedef enum VmState {
	VM_CREATED, /* whole, never ran */
	VM_STARTING,
	VM_RUNNING,
	VM_PAUSED,
	VM_SUSPENDED,
	VM_STOPPED,
	VM_BROKEN, /* shown for a record that cannot be read; never written */
	VM_STATES
} VmState;

typedef struct Port {
	char *host_ip;
	uint16_t host_port;
	uint16_t guest_port;
	bool is_udp;
} Port;

typedef struct Ports {
	Port *items;
	size_t count;
} Ports;

/* How a VM is connected while it runs; `mode` NULL means it never ran. */
typedef struct VmNetwork {
	char *mode; /* the name of the network back end */
	char *tap_device;
	char *host_ip;
	char *guest_ip;
	char *netmask;
	char *guest_mac;
	char *wan_iface;
	Strv dns;
} VmNetwork;

typedef struct Vm {
	char *name;
	char *former_name; /* while a rename is under way; never set in a record that was read */
	char *id;     /* UUID; also the name of everything outside its directory but its volume */
	char *volume; /* UUID; the same as `id` until a snapshot is restored */
	VmState state;
	bool is_stuck;	/* seen, never recorded: PAUSED since its disk takes no more writes */
	char *image;	/* local image name; the image may be gone by now */
	char *image_id; /* UUID of that image */
	uint32_t cpus;
	uint64_t memory_mib;
	uint64_t disk_size_mib;
	uint64_t disk_resize_mib; /* a resize to that is under way, or was cut off; 0: none */
	char *kernel; /* the wish: name of a kernel of this installation, or an absolute path */
	char *kernel_path; /* the file it booted last, or was told to; NULL: known when it boots */
	char *disk_path;
	char *boot_args;  /* added by the user; NULL: none */
	char *hypervisor; /* what it ran with last, or was told to; NULL: known when it boots */
	char *hypervisor_wish; /* auto, qemu, ...; NULL: the installation's */
	char *accelerator;     /* kvm, tcg; NULL: never ran */
	char *network_mode;    /* the wish: user, none, ... */
	char *subnet;
	VmNetwork network;
	Ports ports;
	ProcId process; /* the hypervisor; pid 0 when it does not run */
	ProcId keeper;
	char *created_at;      /* RFC 3339 UTC */
	char *started_at;      /* NULL: never ran */
	char *parent_vm;       /* name of the VM it was forked from; that VM may be gone by now */
	char *parent_id;       /* its UUID; NULL in records of an older ember */
	char *parent_snapshot; /* of that VM's, if it was forked from one */
	Strv labels;	       /* K=V */
	bool has_init;	       /* the image brings its own init */
	/* What every exec sees: the image's values with --env and --user of create on top. */
	Strv env;
	char *user;
	char *workdir;
	/* At each boot the image's own command is run, with these variables on top of the image's. */
	bool run_cmd;
	Strv run_env;
	char *ssh_user;
	char *ssh_key;
} Vm;

#define VM_NAME_MAX 63

const char *vm_state_name(VmState state);
bool vm_state_parse(const char *text, VmState *out_state);
/* Is a hypervisor supposed to exist in this state? */
bool vm_state_is_live(VmState state);

/* Check a name given by the user: [a-z0-9][a-z0-9._-]{0,62}. `what` is "vm" or "image". ERR_USAGE.
 */
int name_check(const char *what, const char *name, Error **err);

/* A MAC that is the VM's own, derived from its id: locally administered, unicast. Owned. */
char *vm_mac(const char *vm_id);

/* NAME=VALUE pairs of `over` replace those of the same name in `env`, or join them. */
void env_merge(Strv *env, const Strv *over);
/* Each edit is NAME=VALUE, which replaces or joins, or NAME-, which removes. */
void pairs_edit(Strv *pairs, const Strv *edits);

/* Wishes, NULL for the default, and what they tell already of what it will run with. A kernel's path is absolute. */
void vm_wish_kernel(Vm *vm, const char *wish);
void vm_wish_hypervisor(Vm *vm, const char *wish);

/* Go to another state; a transition that is not allowed is a programming error. */
void vm_set_state(Vm *vm, VmState to);

void vm_network_release(VmNetwork *network);
void vm_release(Vm *vm);
#define auto_vm CLEANUP(vm_release)

typedef struct VmList {
	Vm *items;
	size_t count;
} VmList;

void vm_list_push_take(VmList *list, Vm *vm); /* leaves *vm empty */
void vm_list_release(VmList *list);
#define auto_vm_list CLEANUP(vm_list_release)
