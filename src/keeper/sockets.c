#include "keeper/sockets.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "util/mem.h"

#define BACKLOG 128

static int make_socket(const char *path, struct sockaddr_un *address, int *out_fd, Error **err)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(address->sun_path))
		return error_set(err, ERR_FAILED, "the socket path '%s' is longer than %zu bytes",
				 path, sizeof(address->sun_path) - 1);
	memcpy(address->sun_path, path, strlen(path));
	*out_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*out_fd < 0)
		return error_set_errno(err, errno, "make a socket");
	return 0;
}

int socket_listen(const char *path, int *out_fd, Error **err)
{
	struct sockaddr_un address;
	auto_fd fd = -1;

	if (make_socket(path, &address, &fd, err) < 0)
		return -1;
	(void)unlink(path);
	/* fchmod before bind: there is no moment at which others may connect. */
	if (fchmod(fd, 0600) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return error_set_errno(err, errno, "listen on '%s'", path);
	*out_fd = steal_fd(&fd);
	return 0;
}

int socket_connect(const char *path, int *out_fd, Error **err)
{
	struct sockaddr_un address;
	auto_fd fd = -1;

	if (make_socket(path, &address, &fd, err) < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return error_set_errno(err, errno, "connect to '%s'", path);
	*out_fd = steal_fd(&fd);
	return 0;
}
