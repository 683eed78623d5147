/*
 * Is a tar an archive of images, and which, or a root filesystem?
 *
 * `docker save` and OCI tools put documents of known names and blobs into a tar; as soon as another name is met it is a
 * root filesystem.
 */
#pragma once

#include "util/error.h"
#include "util/str.h"

typedef enum ArchiveKind {
	ARCHIVE_ROOTFS,
	ARCHIVE_DOCKER, /* manifest.json, as docker save writes it */
	ARCHIVE_OCI,	/* an OCI layout: oci-layout and index.json */
} ArchiveKind;

typedef struct ArchiveFacts {
	ArchiveKind kind;
	size_t images;	 /* how many are in it */
	Strv tags;	 /* the names of those that have some */
	bool is_certain; /* it was read far enough */
} ArchiveFacts;

/* Read the tar from where `fd` stands, which may be a pipe, as far as it takes. What does not parse is for those to
 * refuse who read it in earnest. */
int archive_look(int fd, ArchiveFacts *out_facts, Error **err);
/* The first name of an image in that kind of archive, or NULL; owned. */
char *archive_first_tag(int fd, ArchiveKind kind);
void archive_facts_release(ArchiveFacts *facts);
#define auto_archive_facts CLEANUP(archive_facts_release)
