/*
 * Images and disks on their way in and out: files, registries, and VMs that become images.
 */
#pragma once

#include "model/image.h"
#include "ops/context.h"
#include "ops/vm.h"

typedef struct ExportOptions {
	const char *format; /* oci-archive, raw or qcow2; NULL: what the file's name says */
	bool replace;	    /* a file of that name gives way */
	bool compress;	    /* qcow2 only */
} ExportOptions;

/* What was written. */
typedef struct Exported {
	const char *format;
	uint64_t size_bytes; /* of the file; of a disk as the guest sees it */
	char *digest;	     /* of an OCI image's manifest, else NULL */
} Exported;
void exported_release(Exported *exported);
#define auto_exported CLEANUP(exported_release)

/* Write an image, or the disk of a VM that does not run, into a file ("-": an OCI archive on standard output). The file is
 * there when it is whole, or not at all. An image that was pulled leaves as it came, with the same digest. */
int ops_image_export(Context *ctx, const char *name, const char *file, const ExportOptions *options,
		     Exported *out_exported, Error **err);
int ops_vm_export(Context *ctx, const char *name, const char *file, const ExportOptions *options,
		  Exported *out_exported, Error **err);

typedef struct PushOptions {
	const char *creds;  /* USER:PASSWORD; NULL: skopeo's own files */
	bool plain_http;    /* --tls-verify=false */
	uint64_t timeout_s; /* give up on a registry that says nothing for so long; 0: a minute */
} PushOptions;

/* Upload an image; *out_digest is what the registry calls it now, owned; *out_reference is the full one. */
int ops_image_push(Context *ctx, const char *name, const char *reference,
		   const PushOptions *options, char **out_reference, char **out_digest,
		   Error **err);

typedef struct ImportOptions {
	const char *tag;      /* which of several images in an archive; NULL: the only one */
	const char *platform; /* os/arch; NULL: this host's */
	const char *config;   /* a file with the OCI config of a root filesystem; NULL: none */
	bool replace;	      /* an image of that name gives way */
} ImportOptions;

/* Make an image of a file, whatever it is called: a root filesystem or an archive of `docker save` or of an OCI layout as
 * tar, or a disk with an ext4 on it, raw or qcow2; all of these compressed as well. "-": standard input. ERR_USAGE names
 * what the file seems to be instead, ERR_EXISTS when there is an image of that name that is not to be replaced. */
int ops_image_import(Context *ctx, const char *name, const char *file, const ImportOptions *options,
		     Image *out_image, Error **err);

/* Make an image of the disk of a VM that does not run. ERR_EXISTS when there is one of that name, unless that one is to be
 * replaced. */
int ops_vm_commit(Context *ctx, const char *vm_name, const char *name, bool replace,
		  Image *out_image, Error **err);

/* Shared by them: the record of a VM that does not run (ERR_STATE), what an image of its disk says about itself (config,
 * arch; `disk` is plain, and NULL will do while the image that the VM was made from is there), and that a name is free (ERR_EXISTS, with the way to `replace`). */
int vm_read_resting(Context *ctx, const char *name, Vm *out_vm, Error **err);
int vm_image_config(Context *ctx, const Vm *vm, const char *disk, Image *image, Error **err);
int image_check_free(Context *ctx, const char *name, Error **err);
