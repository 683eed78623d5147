/*
 * Which thin volume of the pool is which volume of ember: one small file each in STATE/store.
 *
 * The pool knows its volumes by numbers of 24 bits, and nothing else. The file is named VOLUME.NUMBER, six hex digits: one
 * look into the directory tells all names and all numbers that are taken. It is there, durable, before the pool is told to
 * make the volume, and goes after the pool has removed it, so nothing in the pool is ever without one for long; and since no
 * two files have one number, what a file names is nobody else's.
 *
 * While VOLUME.part is there too, the volume is an image that is still being imported.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/str.h"

#define THIN_ID_MAX 0xffffffU

typedef struct ThinRecord {
	char *volume;
	uint32_t id;
	uint64_t size_bytes; /* what the guest sees: the pool does not know */
	bool is_sealed;
} ThinRecord;

void thin_record_release(ThinRecord *record);
#define auto_thin_record CLEANUP(thin_record_release)

typedef struct ThinRecordList {
	ThinRecord *items;
	size_t count;
} ThinRecordList;

void thin_record_list_release(ThinRecordList *list);
#define auto_thin_record_list CLEANUP(thin_record_list_release)

/* Names come from ember's records, and one may be damaged. */
int thin_volume_check(const char *volume, Error **err);
/* STATE/store/VOLUME.part. Owned. */
char *thin_part_path(const char *dir, const char *volume);
/* The reverse of its last component; NULL: it is none. Owned. */
char *thin_part_volume(const char *name);

/* Names and numbers of all, nothing is read. */
int thin_record_list(const char *dir, ThinRecordList *out_list, Error **err);
bool thin_record_list_has(const ThinRecordList *list, uint32_t id);
/* By its name: 1, 0 there is none, -1. Only its number is known then. */
int thin_record_locate(const char *dir, const char *volume, ThinRecord *out_record, Error **err);
/* The same, read. */
int thin_record_find(const char *dir, const char *volume, ThinRecord *out_record, Error **err);
/* Read size and seal of one from thin_record_list. */
int thin_record_read(const char *dir, ThinRecord *record, Error **err);

/* The caller holds the store's lock for all of these, and they are durable but for the last. */
/* Write it down under a number that is free, record->id. */
int thin_record_make(const char *dir, ThinRecord *record, Error **err);
/* The pool has that number already, for nobody: take another. */
int thin_record_renumber(const char *dir, ThinRecord *record, Error **err);
int thin_record_write(const char *dir, const ThinRecord *record, Error **err);
int thin_record_remove(const char *dir, const ThinRecord *record, Error **err);
