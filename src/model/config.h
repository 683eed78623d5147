/*
 * The choices of one installation (config.json), made by `ember init` and constant afterwards.
 */
#pragma once

#include <stdint.h>

#include "util/compiler.h"

typedef struct Config {
	char *instance_id; /* 4 hex digits; marks every resource outside the state directory */
	char *storage;	   /* the name of a storage back end */
	char *storage_path; /* the file or device of a store of our own; NULL: its default, or none */
	char *storage_pool;	     /* zfs; NULL: its default, or none */
	char *storage_dataset;	     /* zfs; NULL: its default, or none */
	uint64_t storage_size_bytes; /* of the file of a store of our own */
	char *kernel;		     /* default kernel: a name or an absolute path */
	char *hypervisor;	     /* auto or a name */
	char *network;		     /* auto or a name */
	char *created_at;
} Config;

void config_release(Config *config);
#define auto_config CLEANUP(config_release)
