#include "hypervisor/qmp.h"

#include <stdlib.h>
#include <string.h>

#include "util/json.h"
#include "util/mem.h"

void qmp_message_release(QmpMessage *message)
{
	free(message->name);
	free(message->text);
	*message = (QmpMessage){ 0 };
}

/* The string `key` of the object `obj`, which may be anything or NULL; owned, NULL when absent. */
static char *text_of(const json_t *obj, const char *key)
{
	const char *text = json_string_value(json_object_get(obj, key));

	return text ? str_make_printable(xstrdup(text)) : NULL;
}

/* Of query-block's answer: which node a guest's disk is on. Overlays that were put on top of it are nodes of their own. */
static char *top_node(const json_t *devices)
{
	const json_t *device;
	size_t i;

	json_array_foreach(devices, i, device)
	{
		const json_t *node = json_object_get(device, "inserted");

		if (node)
			return text_of(node, "node-name");
	}
	return NULL;
}

static int read_id(const json_t *doc, QmpMessage *message, Error **err)
{
	return json_get_u64_opt(doc, "id", UINT32_MAX, &message->id, err);
}

static int from_json(const json_t *doc, QmpMessage *message, Error **err)
{
	const json_t *part;

	if (!json_is_object(doc))
		return error_set(err, ERR_FAILED, "it is not an object");
	if (json_object_get(doc, "event")) {
		message->kind = QMP_EVENT;
		message->text = text_of(json_object_get(doc, "data"), "reason");
		return json_get_string(doc, "event", &message->name, err);
	}
	if ((part = json_object_get(doc, "return"))) {
		message->kind = QMP_RETURN;
		message->text = json_is_array(part) ? top_node(part) : text_of(part, "status");
		return read_id(doc, message, err);
	}
	if ((part = json_object_get(doc, "error"))) {
		message->kind = QMP_ERROR;
		message->text = text_of(part, "desc");
		return read_id(doc, message, err);
	}
	if (json_object_get(doc, "QMP")) {
		message->kind = QMP_GREETING;
		return 0;
	}
	return error_set(err, ERR_FAILED, "it is neither an answer nor an event");
}

int qmp_parse(const char *line, size_t len, QmpMessage *out_message, Error **err)
{
	auto_qmp_message QmpMessage message = { 0 };
	json_auto_t *doc = NULL;

	if (json_parse_text(line, len, &doc, err) < 0 || from_json(doc, &message, err) < 0)
		return error_wrap(err, "read a message of QEMU's monitor");
	*out_message = message;
	message = (QmpMessage){ 0 };
	return 0;
}

size_t qmp_reader_space(QmpReader *reader, char **out_at)
{
	if (reader->begin > 0) {
		memmove(reader->bytes, reader->bytes + reader->begin, reader->end - reader->begin);
		reader->end -= reader->begin;
		reader->begin = 0;
	}
	*out_at = reader->bytes + reader->end;
	return QMP_LINE_MAX - reader->end;
}

void qmp_reader_fed(QmpReader *reader, size_t count)
{
	reader->end += count;
}

int qmp_reader_next(QmpReader *reader, QmpMessage *out_message, Error **err)
{
	while (reader->begin < reader->end) {
		const char *line = reader->bytes + reader->begin;
		size_t have = reader->end - reader->begin;
		const char *end = memchr(line, '\n', have);
		size_t len;

		if (!end && have == QMP_LINE_MAX)
			return error_set(err, ERR_FAILED,
					 "QEMU's monitor sent a line of more than %d bytes",
					 QMP_LINE_MAX);
		if (!end)
			return 0;
		len = (size_t)(end - line);
		reader->begin += len + 1;
		if (len > 0 && line[len - 1] == '\r')
			len--;
		if (len > 0)
			return qmp_parse(line, len, out_message, err) < 0 ? -1 : 1;
	}
	return 0;
}

char *qmp_command(uint64_t id, const char *name, json_t *arguments)
{
	json_auto_t *doc = json_object();
	auto_free char *text = NULL;

	json_put_string(doc, "execute", name);
	if (arguments)
		json_put_take(doc, "arguments", arguments);
	json_put_u64(doc, "id", id);
	text = json_dumps(doc, JSON_COMPACT | JSON_ENCODE_ANY);
	return xasprintf("%s\r\n", text);
}
