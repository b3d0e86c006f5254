/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Making and naming sockets: socket() to sockatmark().
 *
 * A socket is ours from birth or not at all: AF_UNIX in a process of a domain.
 */
#include "preload/interpose.h"

AFU_INTERPOSE(int, socket, int domain, int type, int protocol)
{
	if (domain == AF_UNIX && afu_preload_active())
		return afunix_socket(domain, type, protocol);
	return afu_preload_fresh(AFU_REAL(socket)(domain, type, protocol));
}
AFU_INTERPOSE_ALIAS(__socket, socket);

AFU_INTERPOSE(int, socketpair, int domain, int type, int protocol, int *sv)
{
	int r;

	if (domain == AF_UNIX && afu_preload_active())
		return afunix_socketpair(domain, type, protocol, sv);
	r = AFU_REAL(socketpair)(domain, type, protocol, sv);
	if (r == 0) {
		afu_preload_fresh(sv[0]);
		afu_preload_fresh(sv[1]);
	}
	return r;
}

AFU_INTERPOSE(int, bind, int fd, const struct sockaddr *addr, socklen_t len)
{
	if (afu_fd_ours(fd))
		return afunix_bind(fd, addr, len);
	return AFU_REAL(bind)(fd, addr, len);
}

AFU_INTERPOSE(int, connect, int fd, const struct sockaddr *addr, socklen_t len)
{
	if (afu_fd_ours(fd))
		return afunix_connect(fd, addr, len);
	return AFU_REAL(connect)(fd, addr, len);
}
AFU_INTERPOSE_ALIAS(__connect, connect);

AFU_INTERPOSE(int, listen, int fd, int backlog)
{
	if (afu_fd_ours(fd))
		return afunix_listen(fd, backlog);
	return AFU_REAL(listen)(fd, backlog);
}

AFU_INTERPOSE(int, accept, int fd, struct sockaddr *addr, socklen_t *len)
{
	if (afu_fd_ours(fd))
		return afunix_accept(fd, addr, len);
	return afu_preload_fresh(AFU_REAL(accept)(fd, addr, len));
}

AFU_INTERPOSE(int, accept4, int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	if (afu_fd_ours(fd))
		return afunix_accept4(fd, addr, len, flags);
	return afu_preload_fresh(AFU_REAL(accept4)(fd, addr, len, flags));
}

AFU_INTERPOSE(int, getsockname, int fd, struct sockaddr *addr, socklen_t *len)
{
	if (afu_fd_ours(fd))
		return afunix_getsockname(fd, addr, len);
	return AFU_REAL(getsockname)(fd, addr, len);
}

AFU_INTERPOSE(int, getpeername, int fd, struct sockaddr *addr, socklen_t *len)
{
	if (afu_fd_ours(fd))
		return afunix_getpeername(fd, addr, len);
	return AFU_REAL(getpeername)(fd, addr, len);
}

AFU_INTERPOSE(int, getsockopt, int fd, int level, int name, void *value, socklen_t *len)
{
	int r;

	if (afu_fd_ours(fd))
		return afunix_getsockopt(fd, level, name, value, len);
	r = AFU_REAL(getsockopt)(fd, level, name, value, len);
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
		return afunix_setsockopt(fd, level, name, value, len);
	return AFU_REAL(setsockopt)(fd, level, name, value, len);
}

AFU_INTERPOSE(int, shutdown, int fd, int how)
{
	if (afu_fd_ours(fd))
		return afunix_shutdown(fd, how);
	return AFU_REAL(shutdown)(fd, how);
}

AFU_INTERPOSE(int, sockatmark, int fd)
{
	if (afu_fd_ours(fd))
		return afunix_sockatmark(fd);
	return AFU_REAL(sockatmark)(fd);
}

AFU_INTERPOSE(int, isfdtype, int fd, int type)
{
	if (afu_fd_ours(fd))
		return type == S_IFSOCK;
	return AFU_REAL(isfdtype)(fd, type);
}
