#include "ops/image_skopeo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ops/image_auth.h"
#include "ops/image_make.h"
#include "ops/spool.h"
#include "util/fs.h"
#include "util/mem.h"
#include "util/os.h"

/* Less than this is no life: Go's runtime writes a byte to itself now and then. */
#define MOVED_BYTES 1024

/* What a hint has room for. */
typedef enum Slot {
	SLOT_HOST,
	SLOT_REPOSITORY,
	SLOT_URL, /* of the registry */
} Slot;

/* What skopeo, its Go library and registries say, and what it means. The first that is found counts. */
typedef struct Meaning {
	const char *said;
	ErrorCode code;
	const char *sentence; /* with the registry's name in it */
	const char *hint;     /* may have the slot's text in it */
	Slot slot;
} Meaning;

/* The same of a local archive: both are about the reference. */
typedef struct FileMeaning {
	const char *said;
	ErrorCode code;
	const char *sentence;
	const char *hint;
} FileMeaning;

#define HINT_LOGIN "log in: skopeo login %s, or give --creds USER:PASSWORD"
#define HINT_REACH "see whether it answers: curl -I %s/v2/"
#define HINT_CERTIFICATE \
	"if you trust it, put its CA into /etc/containers/certs.d/%s/ca.crt, or add --tls-verify=false"
#define DENIED_SENTENCE	 "registry '%s' does not allow it"
#define UNKNOWN_SENTENCE "registry '%s' has no such image"
#define HINT_TAGS	 "check the name and the tag: skopeo list-tags docker://%s"

static const Meaning meanings[] = {
	{ "manifest unknown", ERR_NOT_FOUND, UNKNOWN_SENTENCE, HINT_TAGS, SLOT_REPOSITORY },
	{ "name unknown", ERR_NOT_FOUND, UNKNOWN_SENTENCE, HINT_TAGS, SLOT_REPOSITORY },
	{ "no image found in", ERR_NOT_FOUND,
	  "registry '%s' does not have the image for this platform",
	  "see which there are: skopeo inspect --raw docker://%s", SLOT_REPOSITORY },
	{ "toomanyrequests", ERR_FAILED, "registry '%s' wants fewer requests", HINT_LOGIN,
	  SLOT_HOST },
	{ "unauthorized", ERR_DENIED, "registry '%s' does not accept the login", HINT_LOGIN,
	  SLOT_HOST },
	{ "authentication required", ERR_DENIED, "registry '%s' wants a login", HINT_LOGIN,
	  SLOT_HOST },
	{ "invalid username/password", ERR_DENIED, "registry '%s' does not accept the login",
	  HINT_LOGIN, SLOT_HOST },
	{ "auth.json: permission denied", ERR_DENIED, "the logins for registry '%s' cannot be read",
	  "name a file of your own: export REGISTRY_AUTH_FILE=~/.config/containers/auth.json",
	  SLOT_HOST },
	{ "denied", ERR_DENIED, DENIED_SENTENCE, HINT_LOGIN, SLOT_HOST },
	{ "403 (Forbidden)", ERR_DENIED, DENIED_SENTENCE, HINT_LOGIN, SLOT_HOST },
	{ "HTTP response to HTTPS", ERR_FAILED, "registry '%s' speaks plain HTTP only",
	  "allow that: --tls-verify=false", SLOT_HOST },
	{ "unknown authority", ERR_FAILED,
	  "registry '%s' has a certificate that nobody here vouches for", HINT_CERTIFICATE,
	  SLOT_HOST },
	{ "x509:", ERR_FAILED, "the certificate of registry '%s' is not valid for it",
	  HINT_CERTIFICATE, SLOT_HOST },
	{ "connection refused", ERR_FAILED, "registry '%s' refuses connections", HINT_REACH,
	  SLOT_URL },
	{ "no such host", ERR_FAILED, "registry '%s' has no address: its name is unknown",
	  "check the name's spelling: getent hosts %s", SLOT_HOST },
	{ "no route to host", ERR_FAILED, "there is no way to registry '%s'", HINT_REACH,
	  SLOT_URL },
	{ "network is unreachable", ERR_FAILED, "there is no way to registry '%s'", HINT_REACH,
	  SLOT_URL },
	{ "i/o timeout", ERR_TIMEOUT, "registry '%s' does not answer", HINT_REACH, SLOT_URL },
	{ "handshake timeout", ERR_TIMEOUT, "registry '%s' does not answer", HINT_REACH, SLOT_URL },
	{ "igest did not match", ERR_FAILED,
	  "a blob that went to or came from registry '%s' is not what its digest says",
	  "if it was pushed, the blob cache is damaged: ember image prune --blobs", SLOT_HOST },
};

/* A connection that broke under way; what was whole is kept. */
static const char *const broken[] = { "unexpected EOF", "connection reset by peer", "broken pipe",
				      "stream error", ": EOF" };

static const Meaning lost = { NULL, ERR_FAILED, "the connection to registry '%s' broke", HINT_REACH,
			      SLOT_URL };

#define HINT_IMPORT "if it is an image of another kind: ember image import NAME FILE"

static const FileMeaning file_meanings[] = {
	{ "more than one image in oci", ERR_USAGE, "there are several images in '%s'",
	  "say which: %s:TAG" },
	{ "expected 1 item", ERR_USAGE, "there are several images in '%s'",
	  "say which: %s:NAME:TAG" },
	{ "no descriptor found for reference", ERR_NOT_FOUND, "there is no image '%s'",
	  "leave the tag out, or see which there are: tar -xOf FILE index.json" },
	{ "Tag \\\"", ERR_NOT_FOUND, "there is no image '%s'",
	  "leave the name out, or see which there are: tar -xOf FILE manifest.json" },
	{ "invalid reference format", ERR_USAGE, "'%s' does not name an image of the archive",
	  "write it like docker-archive:FILE:NAME:TAG" },
	{ "invalid tar header", ERR_USAGE, "'%s' is not an archive of images", HINT_IMPORT },
	{ "index.json: no such file", ERR_USAGE, "'%s' is not an archive of images", HINT_IMPORT },
	{ "manifest.json: file does not exist", ERR_USAGE, "'%s' is not an archive of images",
	  HINT_IMPORT },
	{ "unexpected EOF", ERR_USAGE, "'%s' is cut short", "get it again" },
};

static const char *prefix_of(SkopeoVerb verb)
{
	switch (verb) {
	case SKOPEO_COPY_FROM:
		return "src-";
	case SKOPEO_COPY_TO:
		return "dest-";
	case SKOPEO_INSPECT:
		break;
	}
	return "";
}

/* Layers and archives say what they like about their size. The cache is on the disk of the working directory. */
static int check_growth(const Skopeo *skopeo, uint64_t put, Error **err)
{
	auto_fd dir = open(skopeo->cmd.dir, O_PATH | O_CLOEXEC);

	if (dir < 0)
		return error_set_errno(err, errno, "open '%s'", skopeo->cmd.dir);
	return spool_check(dir, put, SPOOL_BYTES_MAX, err);
}

static int watch(pid_t pid, void *arg, Error **err)
{
	Skopeo *skopeo = arg;
	const RegistryAccess *access = skopeo->access;
	uint64_t timeout_s = access->timeout_s ? access->timeout_s : SKOPEO_TIMEOUT_S;
	uint64_t got, put;

	if (os_process_io(pid, &got, &put) < 0)
		return 0;
	skopeo->is_too_much = skopeo->brings && check_growth(skopeo, put, err) < 0;
	if (skopeo->is_too_much)
		return -1;
	/* In either direction what is moved is written: to a file or to the registry. */
	report_bytes(skopeo->ctx, put, skopeo->total_bytes);
	if (got + put >= skopeo->moved_bytes + MOVED_BYTES || !skopeo->moved_bytes) {
		skopeo->moved_bytes = got + put;
		skopeo->silent_until = deadline_in_ms((int64_t)timeout_s * 1000);
		return 0;
	}
	/* A large layer on its way to a slow disk is not the registry's silence. */
	if (!access->host || !deadline_passed(skopeo->silent_until) ||
	    os_process_waits_for_disk(pid))
		return 0;
	error_set(err, ERR_TIMEOUT, "registry '%s' stalls: nothing moved for %llu seconds",
		  access->host, (unsigned long long)timeout_s);
	return error_hint(err, "try again, or be more patient: --timeout %llu",
			  (unsigned long long)timeout_s * 4);
}

/* "linux/arm/v7" in its words. */
static void add_platform(Command *cmd, const char *platform)
{
	const char *arch = platform + strlen("linux/");
	int len = (int)strcspn(arch, "/");

	command_add(cmd, "--override-os=linux");
	command_addf(cmd, "--override-arch=%.*s", len, arch);
	if (arch[len])
		command_addf(cmd, "--override-variant=%s", arch + len + 1);
}

/* Does the place where skopeo looks for logins without $XDG_RUNTIME_DIR exist for us? Whatever root ran first has made
 * /run/containers, for itself alone. */
static bool is_shut_out(void)
{
	auto_free char *path = NULL;

	if (getenv("REGISTRY_AUTH_FILE") || getenv("XDG_RUNTIME_DIR"))
		return false;
	path = xasprintf("/run/containers/%u/auth.json", (unsigned)geteuid());
	return access(path, F_OK) < 0 && errno == EACCES;
}

/* The logins that a user keeps at home; NULL: none. Owned. */
static char *logins_at_home(void)
{
	static const char *const names[] = { ".config/containers/auth.json",
					     ".docker/config.json" };
	const char *home = getenv("HOME");

	for (size_t i = 0; home && i < ARRAY_SIZE(names); i++) {
		auto_free char *path = path_join(home, names[i]);

		if (access(path, R_OK) == 0)
			return steal(&path);
	}
	return NULL;
}

/* The user's own logins, unless some were given, or none rather than a file that cannot be read. */
static int add_logins(Skopeo *skopeo, const char *prefix, Error **err)
{
	const RegistryAccess *access = skopeo->access;
	auto_free char *path = NULL;

	if (!access->creds && !is_shut_out())
		return 0;
	path = access->creds ? NULL : logins_at_home();
	if (path) {
		command_addf(&skopeo->cmd, "--%sauthfile=%s", prefix, path);
		return 0;
	}
	if (image_auth_open(access->host, access->creds, &skopeo->auth_fd, err) < 0)
		return -1;
	command_addf(&skopeo->cmd, "--%sauthfile=/dev/fd/3", prefix);
	skopeo->cmd.pass_fd = skopeo->auth_fd;
	return 0;
}

int skopeo_init(Skopeo *skopeo, const Context *ctx, SkopeoVerb verb, const char *platform,
		const char *dir, const RegistryAccess *access, Error **err)
{
	const char *prefix = prefix_of(verb);
	auto_skopeo Skopeo made = {
		.ctx = ctx, .access = access, .brings = verb == SKOPEO_COPY_FROM, .auth_fd = -1
	};
	Command *cmd = &made.cmd;

	if (command_init_tool(cmd, "skopeo", err) < 0)
		return -1;
	/* Or archives would be unpacked in /var/tmp, and stay there when it is killed. */
	command_add(cmd, "--tmpdir=.");
	if (platform)
		add_platform(cmd, platform);
	command_add(cmd, verb == SKOPEO_INSPECT ? "inspect" : "copy");
	if (verb != SKOPEO_INSPECT)
		command_add(cmd, "--quiet");
	if (access->host && access->plain_http)
		command_addf(cmd, "--%stls-verify=false", prefix);
	if (access->host && add_logins(&made, prefix, err) < 0)
		return -1;
	cmd->dir = dir;
	*skopeo = made;
	made = (Skopeo){ .auth_fd = -1 };
	return 0;
}

void skopeo_release(Skopeo *skopeo)
{
	command_release(&skopeo->cmd);
	close_fd(&skopeo->auth_fd);
}

static const Meaning *meaning_of(const char *said)
{
	for (size_t i = 0; said && i < ARRAY_SIZE(meanings); i++)
		if (strstr(said, meanings[i].said))
			return &meanings[i];
	for (size_t i = 0; said && i < ARRAY_SIZE(broken); i++)
		if (strstr(said, broken[i]))
			return &lost;
	return NULL;
}

static int set_registry_meaning(const RegistryAccess *access, const char *reference,
				const char *said, Error **err)
{
	const Meaning *meaning = meaning_of(said);
	auto_free char *url =
		xasprintf("%s://%s", access->plain_http ? "http" : "https", access->host);
	const char *const slots[] = {
		[SLOT_HOST] = access->host, [SLOT_REPOSITORY] = access->repository, [SLOT_URL] = url
	};

	if (meaning) {
		error_set(err, meaning->code, meaning->sentence, access->host);
		return error_hint(err, meaning->hint, slots[meaning->slot]);
	}
	error_set(err, ERR_FAILED, "skopeo failed with '%s'", reference);
	return error_hint(err, "see what it says by itself: skopeo inspect docker://%s", reference);
}

static int set_file_meaning(const char *reference, const char *said, Error **err)
{
	for (size_t i = 0; said && i < ARRAY_SIZE(file_meanings); i++) {
		const FileMeaning *meaning = &file_meanings[i];

		if (!strstr(said, meaning->said))
			continue;
		error_set(err, meaning->code, meaning->sentence, reference);
		return error_hint(err, meaning->hint, reference);
	}
	error_set(err, ERR_FAILED, "skopeo cannot read '%s'", reference);
	return error_hint(err, "if it is damaged or cut short, get it again");
}

static void set_meaning(const Skopeo *skopeo, const char *reference, const char *said, Error **err)
{
	if (said && strstr(said, "no space left")) {
		/* It may have filled a small disk faster than it was watched. */
		(void)spool_no_room(err);
	} else if (skopeo->access->host) {
		set_registry_meaning(skopeo->access, reference, said, err);
	} else {
		set_file_meaning(reference, said, err);
	}
}

/* A sentence instead of a command line and its status; what skopeo said stays as the evidence. */
static void explain(const Skopeo *skopeo, const char *reference, Error **err)
{
	auto_error cause = NULL;

	if (error_code(*err) != ERR_FAILED || skopeo->is_too_much)
		return;
	error_move(&cause, err);
	set_meaning(skopeo, reference, error_detail_text(cause), err);
	if (error_detail_text(cause))
		error_detail(err, error_detail_text(cause));
}

static int run_once(Skopeo *skopeo, Error **err)
{
	skopeo->moved_bytes = 0;
	strbuf_clear(&skopeo->cmd.output);
	return command_run(&skopeo->cmd, DEADLINE_NEVER, err);
}

int skopeo_run(Skopeo *skopeo, const char *reference, Error **err)
{
	auto_error first = NULL;

	/* Set here, because the Skopeo may have been moved since its init. */
	skopeo->cmd.on_tick = watch;
	skopeo->cmd.on_tick_arg = skopeo;
	if (run_once(skopeo, &first) == 0)
		return 0;
	if (skopeo->access->host && error_code(first) == ERR_FAILED && !skopeo->is_too_much &&
	    meaning_of(error_detail_text(first)) == &lost) {
		report_step(skopeo->ctx, "once more, since the connection broke: %s", reference);
		skopeo->total_bytes = 0;
		error_clear(&first);
		if (run_once(skopeo, &first) == 0)
			return 0;
	}
	explain(skopeo, reference, &first);
	error_move(err, &first);
	return -1;
}
