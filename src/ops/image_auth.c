#include "ops/image_auth.h"

#include <errno.h>
#include <string.h>

#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/os.h"

/* RFC 4648, section 4. */
static char *base64(const char *text)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *in = (const unsigned char *)text;
	size_t len = strlen(text), at = 0;
	char *out = xcalloc((len + 2) / 3 * 4 + 1, 1);

	for (size_t i = 0; i < len; i += 3) {
		size_t rest = len - i;
		unsigned bits = (unsigned)in[i] << 16;

		if (rest > 1)
			bits |= (unsigned)in[i + 1] << 8;
		if (rest > 2)
			bits |= in[i + 2];
		out[at++] = digits[bits >> 18];
		out[at++] = digits[bits >> 12 & 63];
		out[at++] = rest > 1 ? digits[bits >> 6 & 63] : '=';
		out[at++] = rest > 2 ? digits[bits & 63] : '=';
	}
	return out;
}

int image_auth_check(const char *creds, Error **err)
{
	const char *colon = strchr(creds, ':');

	if (colon && colon != creds)
		return 0;
	error_set(err, ERR_USAGE, "--creds is not USER:PASSWORD");
	return error_hint(err, "write both with a colon between them, or log in: skopeo login");
}

int image_auth_open(const char *host, const char *creds, int *out_fd, Error **err)
{
	auto_fd fd = os_memory_file("auth.json");
	json_auto_t *doc = json_object();
	json_t *auths = json_object();
	json_t *login = json_object();
	auto_free char *secret = base64(creds);
	auto_free char *text = NULL;

	json_put_string(login, "auth", secret);
	json_put_take(auths, host, login);
	json_put_take(doc, "auths", auths);
	text = json_text(doc);
	if (fd < 0)
		return error_set_errno(err, errno, "make a file in memory");
	if (fs_write_all(fd, text, strlen(text), err) < 0)
		return -1;
	*out_fd = steal_fd(&fd);
	return 0;
}
