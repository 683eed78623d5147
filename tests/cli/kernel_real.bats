# The kernel that `ember kernel build` compiles from Linux: VMs boot it without an initramfs and have what it promises.
#
# Compiling takes minutes, so what came out is kept in ${XDG_CACHE_HOME:-~/.cache}/ember-tests; ember itself decides by its
# recipe whether that is still right. The guest is a busybox with two programs of this host's.
load lib

setup_file() {
	new_state
	build_kernel
	boot web busybox --kernel ember
	in_guest 'for applet in $(busybox --list); do ln -s busybox "/bin/$applet" 2>/dev/null || true; done'
	give web nft ip
}

teardown_file() {
	[ ! -e "$BATS_FILE_TMPDIR/server.pid" ] || kill "$(cat "$BATS_FILE_TMPDIR/server.pid")"
	drop_state
}

teardown() {
	assert_no_leftovers
}

build_kernel() {
	local kept=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/ember-tests/kernel made=$EMBER_STATE_DIR/kernels/ember

	mkdir -p "$(dirname "$kept")"
	[ ! -d "$kept" ] || cp -r "$kept" "$made"
	timeout 1400 nice -n 10 "$EMBER" kernel build -v 3>&-
	rm -rf "$kept.$$"
	cp -r "$made" "$kept.$$"
	rm -rf "$kept"
	mv "$kept.$$" "$kept"
}

# give VM PROGRAM...: programs of this host with the libraries they need, into /host of the VM.
give() {
	local vm=$1 program

	shift
	for program in "$@"; do
		program=$(command -v "$program")
		echo "$program"
		ldd "$program" | grep -o '/[^ ]*'
	done | sort -u | tar -chf - -T - --transform 's|.*/|host/|' 2>/dev/null | ember exec -i "$vm" -- tar -xf - -C /
}

# host VM PROGRAM ARG...: one of those programs, in the VM.
host() {
	local vm=$1 program=$2

	shift 2
	ember exec "$vm" -- /host/ld-linux-x86-64.so.2 --library-path /host "/host/$program" "$@"
}

in_guest() {
	ember exec web -- sh -ec "$1"
}

@test "the build is the distribution's kernel with our name, and is not made twice" {
	local began=$EPOCHREALTIME

	expect 0 ember kernel build --format json
	json '.name == "ember" and (.version | endswith("-ember")) and .arch == "x86_64"'
	# Milliseconds; ten times as much on a machine that does other things.
	[ $(((${EPOCHREALTIME/./} - ${began/./}) / 1000)) -lt 3000 ]
	equal "$(ember exec web -- uname -r)" "$(jq -r .version <<<"$output")"
	contains "$(ember exec web -- uname -v)" "#1 SMP"
}

@test "a VM boots without an initramfs, and is reached in all ways" {
	run jq -e '.argv | index("-initrd")' "$EMBER_STATE_DIR/vms/web/launch.json"
	equal "$output" null
	in_guest 'grep -q " / ext4 rw" /proc/mounts'
	equal "$(ember exec web -- hostname)" web
	echo data | ember cp - web:/root/file
	equal "$(ember cp web:/root/file -)" data
	in_guest 'grep -q 10.0.2.3 /etc/resolv.conf && ip addr show eth0 | grep -q 10.0.2.15'
}

@test "all of the configuration is in force, and told by /proc/config.gz" {
	in_guest 'zcat /proc/config.gz' >"$BATS_TEST_TMPDIR/config"
	diff "$BATS_TEST_TMPDIR/config" "$EMBER_STATE_DIR/kernels/ember/config"
	grep -v '^#' "$CLI_DIR/../../kernels/ember.fragment" | grep . | sort >"$BATS_TEST_TMPDIR/wanted"
	equal "$(sort "$BATS_TEST_TMPDIR/config" | comm -23 "$BATS_TEST_TMPDIR/wanted" -)" ""
}

@test "filesystems, devices and controllers are there" {
	local word

	for word in ext4 overlay 9p erofs fuse virtiofs autofs cgroup2 bpf tmpfs mqueue; do
		in_guest "grep -qw $word /proc/filesystems" || { echo "no $word"; return 1; }
	done
	for word in virtio_blk virtio_net virtio_console virtio_rng virtio_balloon virtiofs 9pnet_virtio \
		vmw_vsock_virtio_transport; do
		in_guest "ls -d /sys/bus/virtio/drivers/$word" || { echo "no $word"; return 1; }
	done
	in_guest 'test -c /dev/fuse && test -c /dev/vsock && test -c /dev/net/tun && test -c /dev/loop-control'
	in_guest 'mkdir -p /tmp/cg && mount -t cgroup2 none /tmp/cg && cat /tmp/cg/cgroup.controllers && umount /tmp/cg' \
		>"$BATS_TEST_TMPDIR/controllers" || in_guest 'cat /sys/fs/cgroup/cgroup.controllers' >"$BATS_TEST_TMPDIR/controllers"
	for word in cpuset cpu io memory pids; do
		grep -qw "$word" "$BATS_TEST_TMPDIR/controllers" || { cat "$BATS_TEST_TMPDIR/controllers"; return 1; }
	done
}

@test "overlay: what is written goes to the upper layer" {
	in_guest '
		mkdir -p /o/lower /o/upper /o/work /o/merged
		echo old >/o/lower/file; echo gone >/o/lower/gone
		mount -t overlay overlay -o lowerdir=/o/lower,upperdir=/o/upper,workdir=/o/work /o/merged
		echo new >/o/merged/file; rm /o/merged/gone
		test "$(cat /o/lower/file) $(cat /o/upper/file)" = "old new"
		test -c /o/upper/gone && test ! -e /o/merged/gone
		umount /o/merged'
}

@test "nftables: a container behind a bridge reaches the world masqueraded" {
	local port

	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	mkdir "$BATS_FILE_TMPDIR/www"
	echo "from the host" >"$BATS_FILE_TMPDIR/www/page"
	python3 -m http.server "$port" --bind 127.0.0.1 --directory "$BATS_FILE_TMPDIR/www" >/dev/null 2>&1 3>&- &
	echo $! >"$BATS_FILE_TMPDIR/server.pid"
	host web ip link add br0 type bridge
	host web ip link add v0 type veth peer name v1
	host web ip link set v0 master br0 up
	host web ip addr add 172.30.0.1/24 dev br0
	host web ip link set br0 up
	ember exec web -- sh -ec '
		echo 1 >/proc/sys/net/ipv4/ip_forward
		unshare -n sleep 600 >/dev/null 2>&1 &
		sleep 1; pidof sleep | tr " " "\n" | head -n 1 >/tmp/container'
	host web ip link set v1 netns "$(ember exec web -- cat /tmp/container)"
	ember exec web -- sh -ec 'nsenter -n -t "$(cat /tmp/container)" sh -ec "
		ip addr add 172.30.0.2/24 dev v1; ip link set v1 up; ip route add default via 172.30.0.1"'
	ember exec -i web -- /host/ld-linux-x86-64.so.2 --library-path /host /host/nft -f - <<-RULES
		table inet filter {
			set peers { type ipv4_addr; elements = { 172.30.0.2 } }
			chain forward {
				type filter hook forward priority filter; policy drop;
				ct state established,related counter accept
				ip saddr @peers oifname "eth0" tcp dport $port counter accept
				limit rate 5/second log prefix "dropped" reject
			}
		}
		table ip nat {
			chain postrouting {
				type nat hook postrouting priority srcnat;
				ip saddr 172.30.0.0/24 oifname "eth0" masquerade
			}
		}
	RULES
	until_true 20 in_guest "nsenter -n -t \$(cat /tmp/container) wget -qO- http://10.0.2.2:$port/page | grep -q 'from the host'"
	host web nft list ruleset >"$BATS_TEST_TMPDIR/rules"
	grep -q "oifname \"eth0\" tcp dport $port counter packets [1-9]" "$BATS_TEST_TMPDIR/rules"
	host web nft delete table ip nat
	host web nft delete table inet filter
	in_guest 'kill $(cat /tmp/container)'
}

# The same kernel and disk under a QEMU that is not ember's, with a directory to share.
@test "9p: a directory of the host is mounted and written to" {
	local share=$BATS_TEST_TMPDIR/share disk=$BATS_TEST_TMPDIR/disk.raw clock

	mkdir "$share"
	echo "from the host" >"$share/hello"
	ember exec -i web -- sh -c 'cat >/9p-test; chmod 755 /9p-test; sync' <<-'SCRIPT'
		#!/bin/sh
		mkdir -p /mnt/9p
		mount -t 9p -o trans=virtio,version=9p2000.L shared /mnt/9p
		cat /mnt/9p/hello >/mnt/9p/answer
		mkdir /mnt/9p/directory
		ln -s hello /mnt/9p/link
		umount /mnt/9p
		poweroff -f
	SCRIPT
	# Without KVM the speed of the clock must be told, as ember does.
	clock=$(grep -o 'tsc_early_khz=[0-9]* tsc=reliable' "$EMBER_STATE_DIR/vms/web/launch.json" || true)
	ember vm stop web
	cp --reflink=auto "$(field web .disk_path)" "$disk"
	chmod 600 "$disk"
	timeout 120 qemu-system-x86_64 -nodefaults -no-reboot -display none -accel tcg -cpu max -m 256M \
		-M microvm,acpi=on,pic=off,pit=off,rtc=on -global virtio-mmio.force-legacy=false \
		-kernel "$EMBER_STATE_DIR/kernels/ember/vmlinux" \
		-append "root=/dev/vda rw rootfstype=ext4 init=/9p-test console=ttyS0 panic=-1 reboot=t $clock" \
		-drive "file=$disk,format=raw,if=none,id=disk0" -device virtio-blk-device,drive=disk0 \
		-fsdev "local,id=shared,path=$share,security_model=none" \
		-device virtio-9p-device,fsdev=shared,mount_tag=shared -serial stdio >"$BATS_TEST_TMPDIR/console" </dev/null 3>&-
	cat "$BATS_TEST_TMPDIR/console"
	equal "$(cat "$share/answer")" "from the host"
	[ -d "$share/directory" ]
	equal "$(readlink "$share/link")" hello
	ember vm start web
	ember exec web -- true
}

@test "a Debian boots it too, as the default kernel" {
	ember kernel default ember
	boot deb debian
	contains "$(ember exec deb -- uname -r)" "-ember"
	expect 4 ember kernel delete ember
	ember vm delete --force deb
	ember kernel default stock
	expect 4 ember kernel delete ember
	explains "is used by web"
}
