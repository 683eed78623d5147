/*
 * Records: JSON <-> model, with a schema number. The only place that knows field names on disk.
 *
 * A record of an unknown newer schema is refused, an older one is migrated when read. A record that
 * cannot be read makes that VM or image `broken`; it never stops the others.
 */
#pragma once

#include <jansson.h>

#include "model/config.h"
#include "model/image.h"
#include "model/vm.h"
#include "state/store.h"
#include "util/error.h"

#define RECORD_SCHEMA 1

/* Is that a record, of a schema that we know? */
int record_check_schema(const json_t *doc, Error **err);
json_t *vm_to_json(const Vm *vm); /* also what `vm inspect --format json` prints */
int vm_from_json(const json_t *doc, Vm *out_vm, Error **err);
bool records_same_vm(const Vm *a, const Vm *b); /* would their records be the same? */
json_t *image_to_json(const Image *image);
int image_from_json(const json_t *doc, Image *out_image, Error **err);
json_t *config_to_json(const Config *config);
int config_from_json(const json_t *doc, Config *out_config, Error **err);

/* The record of one VM as it is on disk. ERR_NOT_FOUND with "did you mean" and how to list them. */
int records_read_vm(const Store *store, const char *name, Vm *out_vm, Error **err);
/* The same from any directory that holds a vm.json (tmp/, trash/). */
int records_read_vm_at(const char *dir, Vm *out_vm, Error **err);
/* Write it into that directory, atomically; `durable` also reaches the disk. */
int records_write_vm_at(const char *dir, const Vm *vm, bool durable, Error **err);
int records_write_vm(const Store *store, const Vm *vm, Error **err); /* durable */
/* The first record of a directory that nobody reads yet: durable as a file, one flush; its directory is the caller's. */
int records_write_new_vm_at(const char *dir, const Vm *vm, Error **err);
/* All of them, sorted by name; unreadable ones have state VM_BROKEN and only their name. */
int records_list_vms(const Store *store, VmList *out_list, Error **err);

int records_read_image(const Store *store, const char *name, Image *out_image, Error **err);
int records_read_image_at(const char *dir, Image *out_image, Error **err);
int records_write_image_at(const char *dir, const Image *image, bool durable, Error **err);
/* All of them, sorted by name; an unreadable one has only its name (id NULL). */
int records_list_images(const Store *store, ImageList *out_list, Error **err);

/* The volumes that a directory of tmp/, vms/, images/ or trash/ claims by the records in it, added to the list. */
void records_read_volumes_at(const char *dir, Strv *out_volumes);
/* The id that a directory of tmp/, vms/, images/ or trash/ claims by its vm.json or image.json; NULL when it has none. Owned. */
char *records_read_id_at(const char *dir);
