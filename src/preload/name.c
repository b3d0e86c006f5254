/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Making and naming sockets: socket() to sockatmark().
 *
 * A socket is ours from birth or not at all: AF_UNIX in a process of a domain.
 */
#include "preload/call.h"

AFU_INTERPOSE(int, socket, int domain, int type, int protocol)
{
	if (domain == AF_UNIX && afu_preload_active())
		return AFU_OURS(socket, domain, type, protocol);
	return afu_preload_fresh(AFU_THEIRS(socket, domain, type, protocol));
}
AFU_INTERPOSE_ALIAS(__socket, socket);

AFU_INTERPOSE(int, socketpair, int domain, int type, int protocol, int *sv)
{
	int r;

	if (domain == AF_UNIX && afu_preload_active())
		return AFU_OURS(socketpair, domain, type, protocol, sv);
	r = AFU_THEIRS(socketpair, domain, type, protocol, sv);
	if (r == 0) {
		afu_preload_fresh(sv[0]);
		afu_preload_fresh(sv[1]);
	}
	return r;
}

AFU_INTERPOSE(int, bind, int fd, const struct sockaddr *addr, socklen_t len)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(bind, fd, addr, len);
	return AFU_THEIRS(bind, fd, addr, len);
}

AFU_INTERPOSE(int, connect, int fd, const struct sockaddr *addr, socklen_t len)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(connect, fd, addr, len);
	return AFU_THEIRS(connect, fd, addr, len);
}
AFU_INTERPOSE_ALIAS(__connect, connect);

AFU_INTERPOSE(int, listen, int fd, int backlog)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(listen, fd, backlog);
	return AFU_THEIRS(listen, fd, backlog);
}

AFU_INTERPOSE(int, accept, int fd, struct sockaddr *addr, socklen_t *len)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(accept, fd, addr, len);
	return afu_preload_fresh(AFU_THEIRS(accept, fd, addr, len));
}

AFU_INTERPOSE(int, accept4, int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(accept4, fd, addr, len, flags);
	return afu_preload_fresh(AFU_THEIRS(accept4, fd, addr, len, flags));
}

AFU_INTERPOSE(int, getsockname, int fd, struct sockaddr *addr, socklen_t *len)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(getsockname, fd, addr, len);
	return AFU_THEIRS(getsockname, fd, addr, len);
}

AFU_INTERPOSE(int, getpeername, int fd, struct sockaddr *addr, socklen_t *len)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(getpeername, fd, addr, len);
	return AFU_THEIRS(getpeername, fd, addr, len);
}

AFU_INTERPOSE(int, getsockopt, int fd, int level, int name, void *value, socklen_t *len)
{
	int r;

	if (afu_fd_ours(fd))
		return AFU_OURS(getsockopt, fd, level, name, value, len);
	r = AFU_THEIRS(getsockopt, fd, level, name, value, len);
#ifdef SO_PEERPIDFD
	/* The one option whose value is a new descriptor. */
	if (r == 0 && level == SOL_SOCKET && name == SO_PEERPIDFD && *len >= sizeof(int))
		afu_preload_fresh(*(int *)value);
#endif
	return r;
}

AFU_INTERPOSE(int, setsockopt, int fd, int level, int name, const void *value, socklen_t len)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(setsockopt, fd, level, name, value, len);
	return AFU_THEIRS(setsockopt, fd, level, name, value, len);
}

AFU_INTERPOSE(int, shutdown, int fd, int how)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(shutdown, fd, how);
	return AFU_THEIRS(shutdown, fd, how);
}

AFU_INTERPOSE(int, sockatmark, int fd)
{
	if (afu_fd_ours(fd))
		return AFU_OURS(sockatmark, fd);
	return AFU_THEIRS(sockatmark, fd);
}

AFU_INTERPOSE(int, isfdtype, int fd, int type)
{
	if (afu_fd_ours(fd))
		return type == S_IFSOCK;
	return AFU_REAL(isfdtype)(fd, type);
}
