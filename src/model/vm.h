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
	char *id; /* UUID; also the name of its volume and of everything else outside its directory
		   */
	VmState state;
	char *image;	/* local image name; the image may be gone by now */
	char *image_id; /* UUID of that image */
	uint32_t cpus;
	uint64_t memory_mib;
	uint64_t disk_size_mib;
	char *kernel; /* name of a kernel of this installation, or an absolute path */
	char *disk_path;
	char *boot_args;    /* added by the user; NULL: none */
	char *hypervisor;   /* what it last ran with; NULL: never ran and no wish */
	char *accelerator;  /* kvm, tcg; NULL: never ran */
	char *network_mode; /* the wish: user, none, ... */
	char *subnet;
	VmNetwork network;
	Ports ports;
	ProcId process; /* the hypervisor; pid 0 when it does not run */
	ProcId keeper;
	char *created_at; /* RFC 3339 UTC */
	char *started_at; /* NULL: never ran */
	char *parent_vm;  /* name of the VM it was forked from, at that time */
	Strv labels;	  /* K=V */
	bool has_init;	  /* the image brings its own init */
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
