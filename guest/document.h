/*
 * How an image wants to be run: /usr/lib/ember/image.json, which ember-image wrote.
 *
 *	{"entrypoint":[],"cmd":[],"env":[],"user":"","workdir":"", ...}
 *
 * The rest of the document is passed over. The file is the guest's own, but anybody's program may have
 * changed it: it is read within bounds, and what is not JSON is refused.
 */
#pragma once

#include <stdbool.h>

/* All texts lie in `text`; the lists end with NULL, and so may `user` and `workdir` be. */
typedef struct Document {
	char *text;
	char **entrypoint, **cmd, **env;
	char *user, *workdir;
} Document;

/* Take the text of a document (from malloc) apart, in place. False when it is not one; then, too, it is released. */
bool document_parse(char *text, Document *out_document);
void document_release(Document *document);
