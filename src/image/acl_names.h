/*
 * Numbers of users and groups by their names, from the text of an image's /etc/passwd or /etc/group: "NAME:x:NUMBER:...".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/compiler.h"

#define ACL_NO_ID UINT32_MAX /* means "no change" to chown(2) */

typedef struct AclName {
	const char *name; /* not terminated; in the text */
	size_t length;
	uint32_t id;
} AclName;

typedef struct AclNames {
	AclName *items; /* sorted */
	size_t count;
} AclNames;

/* Lines that make no sense are passed over. The text stays the caller's, and must stay. */
void acl_names_read(AclNames *names, const char *text, size_t length);
/* Of several lines with that name the first counts, as for getpwnam(3). */
bool acl_names_find(const AclNames *names, const char *name, size_t length, uint32_t *out_id);
/* A decimal number below 2^32-1, and nothing else. */
bool acl_parse_id(const char *text, size_t length, uint32_t *out_id);

void acl_names_release(AclNames *names);
#define auto_acl_names CLEANUP(acl_names_release)
