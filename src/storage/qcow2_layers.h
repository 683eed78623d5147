/*
 * The files of a qcow2 store, and who needs which.
 *
 *	ID.raw			an image as it was imported, sealed
 *	ID.qcow2		any other volume: an overlay
 *	ID.layer.raw		layers, which is what overlays name as their backing file: another name of a sealed
 *	ID.layer.qcow2		volume,
 *	ID.origin.qcow2		or what the volume that ID was cloned from was then
 *	ID.part ID.next ID.flat	being made: an import, the file that takes a source's place, a layer
 *
 * Only layers are ever named by a header, and a layer never changes. So a volume may go at any time: what others need of it
 * has a name of its own, and goes when the last header that names it has gone.
 */
#pragma once

#include "storage/qcow2_format.h"
#include "util/str.h"

#define QCOW2_RAW	".raw"
#define QCOW2_OVERLAY	".qcow2"
#define QCOW2_LAYER_RAW ".layer.raw"
#define QCOW2_LAYER	".layer.qcow2"
#define QCOW2_ORIGIN	".origin.qcow2"
#define QCOW2_IMPORT	".part"
#define QCOW2_NEXT	".next"
#define QCOW2_FLAT	".flat"

/* "ID.layer.raw", owned. */
char *qcow2_file(const char *volume, const char *suffix) MUST_USE;
bool qcow2_file_exists(const char *dir, const char *volume, const char *suffix);
/* Which volume the file belongs to, owned; NULL: it is none of ours. */
char *qcow2_file_owner(const char *file) MUST_USE;
bool qcow2_is_layer(const char *file);

/*
 * One exclusive lock for everything that changes who needs whom; cloning from what is sealed takes it shared. Never held
 * for longer than a few fsyncs. Closing the fd lets go.
 */
int qcow2_lock(const char *dir, bool exclusive, int *out_fd, Error **err);

/* Every overlay of the store and what it names. */
typedef struct Qcow2Link {
	char *file;
	char *backing; /* "": none. NULL: it cannot be read, so it may need anything */
} Qcow2Link;

typedef struct Qcow2Links {
	Qcow2Link *items; /* by file */
	size_t count;
} Qcow2Links;

int qcow2_links_read(const char *dir, Qcow2Links *out_links, Error **err);
void qcow2_links_release(Qcow2Links *links);
#define auto_qcow2_links CLEANUP(qcow2_links_release)
/* NULL: there is no such overlay, or it cannot be read. */
const char *qcow2_links_backing(const Qcow2Links *links, const char *file);
/* Does an overlay that is not in `doomed` need the layer? */
bool qcow2_links_need(const Qcow2Links *links, const char *layer, const Strv *doomed);

/* Append the files that nobody needs any more once `doomed` are gone: their layers, as far as no other file names them.
 * Removed from the last to the first, whatever remains after a crash leads to the rest. */
void qcow2_links_collect(const char *dir, const Qcow2Links *links, Strv *doomed);
