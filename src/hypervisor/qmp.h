/*
 * QMP, the protocol of QEMU's monitor: one JSON document a line, without any I/O here.
 * Specification: QEMU's docs/interop/qmp-spec; commands and events: its qapi/ directory.
 *
 * The hypervisor runs untrusted guests, so what it says is read with bounds: a line longer than
 * QMP_LINE_MAX, or one that is no message, ends the conversation.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "util/compiler.h"
#include "util/error.h"

/* What query-block says of a disk with many layers is the longest. */
#define QMP_LINE_MAX 262144

typedef enum QmpKind {
	QMP_GREETING, /* the first message */
	QMP_RETURN,   /* the command `id` succeeded */
	QMP_ERROR,    /* the command `id` failed */
	QMP_EVENT,
} QmpKind;

typedef struct QmpMessage {
	QmpKind kind;
	uint64_t id; /* of the command that is answered; 0: none given */
	char *name;  /* of the event; NULL otherwise */
	char *text;  /* error: its description. SHUTDOWN: its reason. query-status: the state.
		      * query-block: the node that the first disk reads and writes. Else NULL.
		      * Printable. */
} QmpMessage;

void qmp_message_release(QmpMessage *message);
#define auto_qmp_message CLEANUP(qmp_message_release)

/* One line without its end. */
int qmp_parse(const char *line, size_t len, QmpMessage *out_message, Error **err);

/*
 * Bytes in, messages out, in constant memory:
 *
 *	room = qmp_reader_space(reader, &at);
 *	qmp_reader_fed(reader, read(fd, at, room));
 *	while ((got = qmp_reader_next(reader, &message, err)) > 0)
 *		...
 */
typedef struct QmpReader {
	size_t begin, end;
	char bytes[QMP_LINE_MAX];
} QmpReader;

size_t qmp_reader_space(QmpReader *reader, char **out_at);
void qmp_reader_fed(QmpReader *reader, size_t count);
/* 1 a message, 0 needs more bytes, -1 the conversation is broken. */
int qmp_reader_next(QmpReader *reader, QmpMessage *out_message, Error **err);

/* The line that runs a command; owned. `id` is not 0. Takes the arguments; NULL: none. */
char *qmp_command(uint64_t id, const char *name, json_t *arguments) MUST_USE;
