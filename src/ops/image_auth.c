#include "ops/image_auth.h"

#include <errno.h>
#include <string.h>

#include "util/fs.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/os.h"

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
	auto_free char *text = NULL;

	if (creds) {
		auto_strbuf Strbuf secret = { 0 };
		json_t *login = json_object();

		strbuf_add_base64(&secret, creds, strlen(creds), true);
		json_put_string(login, "auth", strbuf_str(&secret));
		json_put_take(auths, host, login);
	}
	json_put_take(doc, "auths", auths);
	text = json_text(doc);
	if (fd < 0)
		return error_set_errno(err, errno, "make a file in memory");
	if (fs_write_all(fd, text, strlen(text), err) < 0)
		return -1;
	*out_fd = steal_fd(&fd);
	return 0;
}
