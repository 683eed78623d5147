/*
 * skopeo: how images travel between registries, archives and the blob cache.
 *
 * It dies with us, its temporary files lie in the working directory that it is given (reconcile removes that one), and a login
 * reaches it through a file in memory. What it says on failure becomes a sentence with a code: a tag that is not there is
 * ERR_NOT_FOUND, a refused login ERR_DENIED, a registry that says nothing any more ERR_TIMEOUT.
 */
#pragma once

#include "ops/context.h"
#include "util/process.h"

#define SKOPEO_TIMEOUT_S 60

/* How a registry is reached. */
typedef struct RegistryAccess {
	const char *host;	/* NULL: no registry takes part, only files */
	const char *repository; /* HOST/NAME, for hints */
	const char *creds;	/* USER:PASSWORD; NULL: skopeo's own files */
	bool plain_http;	/* --tls-verify=false */
	uint64_t timeout_s;	/* give up when nothing moved for so long; 0: SKOPEO_TIMEOUT_S */
} RegistryAccess;

typedef enum SkopeoVerb {
	SKOPEO_COPY_FROM, /* `copy`, and the access is the source's */
	SKOPEO_COPY_TO,	  /* `copy`, and the access is the destination's */
	SKOPEO_INSPECT
} SkopeoVerb;

typedef struct Skopeo {
	Command cmd; /* add options and words to it */
	const Context *ctx;
	const RegistryAccess *access; /* borrowed */
	bool brings;		      /* it fills our disk */
	int auth_fd;
	uint64_t total_bytes; /* what is to be moved, for the progress bar; 0: unknown */
	/* While it runs: */
	bool is_too_much;
	uint64_t moved_bytes;
	Deadline silent_until;
} Skopeo;

/* Begin a command line, up to and with the options for the registry. It runs in `dir` (borrowed). `platform`:
 * "linux/ARCH[/VARIANT]", which of several is meant; NULL: does not matter. ERR_MISSING_TOOL. */
int skopeo_init(Skopeo *skopeo, const Context *ctx, SkopeoVerb verb, const char *platform,
		const char *dir, const RegistryAccess *access, Error **err);
/* Run it, telling the bytes that move to the reporter of the context. A connection that breaks is tried once more:
 * whole blobs are there already. `reference` is how errors name the image. */
int skopeo_run(Skopeo *skopeo, const char *reference, Error **err);
void skopeo_release(Skopeo *skopeo);
#define auto_skopeo CLEANUP(skopeo_release)
