/*
 * Commands about images: what their options fill, and what runs them.
 */
#pragma once

#include "cli/cmd.h"

extern const Cmd image_commands[];

/* Zero or NULL means "not given" unless said otherwise. */

typedef struct BuildArgs {
	const char *variant;
	const char *suite;
	const char *mirror;
	Strv packages;
	const char *file;
	Strv build_args;
	const char *target;
	const char *platform;
	const char *engine;
	bool no_cache;
	bool replace;
} BuildArgs;

typedef struct PullArgs {
	const char *name;
	const char *platform;
	const char *creds;
	const char *tls_verify;
	bool refresh;
	int64_t timeout_s;
} PullArgs;

typedef struct PruneArgs {
	bool blobs;
	bool dry_run;
	bool yes;
} PruneArgs;

/* image export, vm export */
typedef struct ExportArgs {
	const char *format;
	bool force;
	bool compress;
} ExportArgs;

typedef struct PushArgs {
	const char *creds;
	const char *tls_verify;
	int64_t timeout_s;
} PushArgs;

typedef struct ImportArgs {
	const char *tag;
	const char *platform;
	const char *config;
	bool replace;
} ImportArgs;

/* vm commit */
typedef struct CommitArgs {
	bool replace;
} CommitArgs;

extern const Option export_options[];
extern const Option commit_options[];

/* USER:PASSWORD: the option, else EMBER_CREDS; NULL: neither. */
const char *image_login(const char *option);

int cmd_image_export(App *app, const Args *args, Error **err);
int cmd_image_push(App *app, const Args *args, Error **err);
int cmd_image_import(App *app, const Args *args, Error **err);
int cmd_vm_export(App *app, const Args *args, Error **err);
int cmd_vm_commit(App *app, const Args *args, Error **err);
int cmd_image_build(App *app, const Args *args, Error **err);
int cmd_image_pull(App *app, const Args *args, Error **err);
int cmd_image_list(App *app, const Args *args, Error **err);
int cmd_image_inspect(App *app, const Args *args, Error **err);
int cmd_image_rename(App *app, const Args *args, Error **err);
int cmd_image_prune(App *app, const Args *args, Error **err);
int cmd_image_delete(App *app, const Args *args, Error **err);
