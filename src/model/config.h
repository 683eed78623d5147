/*
 * The choices of one installation (config.json), made by `ember init` and constant afterwards.
 */
#pragma once

#include <stdint.h>

#include "util/compiler.h"

typedef struct Config {
	char *instance_id;  /* 4 hex digits; marks every resource outside the state directory */
	char *storage;	    /* reflink, btrfs, xfs */
	char *storage_path; /* a managed store's file or device; NULL otherwise */
	uint64_t storage_size_bytes; /* of a managed store's file */
	char *kernel;		     /* default kernel: a name or an absolute path */
	char *hypervisor;	     /* auto or a name */
	char *network;		     /* auto or a name */
	char *created_at;
} Config;

void config_release(Config *config);
#define auto_config CLEANUP(config_release)
