# Kernels: added, compiled, chosen and removed. What is compiled here is tests/fake/kernel, a source of three files;
# kernel_real.bats does it with Linux.
load lib

setup_file() {
	new_state
	STOCK=$EMBER_STATE_DIR/kernels/stock
	FAKE=$BATS_FILE_TMPDIR/source
	export STOCK FAKE
	cp -r "$CLI_DIR/../fake/kernel" "$FAKE"
	# No other run of this file sleeps as long.
	export NAP=61.$$
	sed -i "s/sleep 61\$/sleep $NAP/; s/sleep 61)/sleep $NAP)/" "$FAKE/Makefile"
	grep -q "sleep $NAP" "$FAKE/Makefile"
}

teardown_file() {
	drop_state
}

teardown() {
	! mountpoint -q "$EMBER_STATE_DIR/kernels" || umount "$EMBER_STATE_DIR/kernels"
	! mountpoint -q "$BATS_TEST_TMPDIR/small" || umount "$BATS_TEST_TMPDIR/small"
	assert_no_leftovers
	equal "$(find "$EMBER_STATE_DIR/kernels" -name '.*.work')" ""
}

# fragment LINE...: a file of them, named on stdout.
fragment() {
	printf '%s\n' "$@" >"$BATS_TEST_TMPDIR/fragment"
	echo "$BATS_TEST_TMPDIR/fragment"
}

build() {
	ember kernel build --source "$FAKE" "$@"
}

kernel() {
	ember kernel list --format json | jq -r ".kernels[] | select(.name == \"$1\") | $2"
}

# tools PROGRAM...: a PATH on which they are missing; of the rest there is what a build takes.
tools_without() {
	local bin=$BATS_TEST_TMPDIR/bin word

	mkdir -p "$bin"
	for word in make gcc ld as cc1 strip flex bison bc perl tar xz env sh sed grep mkdir echo sleep \
		dpkg-query dirname; do
		[[ " $* " == *" $word "* ]] || ln -sf "$(command -v "$word" || echo /nowhere)" "$bin/$word"
	done
	echo "$bin"
}

@test "a build gives a kernel with its configuration and recipe; the same again takes no build" {
	expect 0 build --format json
	json '.name == "ember" and .version == "6.1.0-fake" and .arch == "x86_64" and .default == false'
	[ -s "$EMBER_STATE_DIR/kernels/ember/vmlinux" ]
	grep -q '^CONFIG_VIRTIO_BLK=y$' "$EMBER_STATE_DIR/kernels/ember/config"
	grep -q '^CONFIG_PVH=y$' "$EMBER_STATE_DIR/kernels/ember/recipe"
	expect 0 build
	contains "$output" "is already built"
	equal "$(ls -A "$EMBER_STATE_DIR/tmp")" ""
}

@test "steps are told with their times, and nothing is said in pipes" {
	ember kernel delete ember || true
	expect 0 build
	equal "$stderr" ""
	ember kernel delete ember || true
	expect 0 build -v
	contains "$stderr" "configure the kernel" "compile the kernel (5 files)" " s"
	run script -qec "$EMBER kernel build --source $FAKE --config $(fragment CONFIG_FAKE_PAUSE=y)" /dev/null 3>&-
	contains "$output" " of about 5 files)" "compile the kernel (5 of about 5 files)"
}

@test "another option, or another source, makes it anew" {
	local before

	build >/dev/null
	before=$(stat -c %i "$EMBER_STATE_DIR/kernels/ember/vmlinux")
	expect 0 build --config "$(fragment CONFIG_MORE=y '# CONFIG_SWAP is not set')"
	contains "$output" "built successfully"
	grep -q '^CONFIG_MORE=y$' "$EMBER_STATE_DIR/kernels/ember/config"
	grep -q '^# CONFIG_SWAP is not set$' "$EMBER_STATE_DIR/kernels/ember/config"
	[ "$(stat -c %i "$EMBER_STATE_DIR/kernels/ember/vmlinux")" != "$before" ]
	expect 0 build --config "$(fragment '# CONFIG_SWAP is not set' CONFIG_MORE=y)"
	contains "$output" "is already built"
	touch "$FAKE/kernel.c"
	expect 0 build --config "$(fragment '# CONFIG_SWAP is not set' CONFIG_MORE=y)"
	contains "$output" "built successfully"
}

@test "two builds of one source give the same bytes" {
	build one >/dev/null
	build two -j 1 >/dev/null
	cmp "$EMBER_STATE_DIR/kernels/one/vmlinux" "$EMBER_STATE_DIR/kernels/two/vmlinux"
	ember kernel delete one two
}

@test "the user's environment has no say, and the source is left alone" {
	CROSS_COMPILE=m68k- LLVM=1 KCFLAGS=-O0 MAKEFLAGS=-n expect 0 build clean
	equal "$(cd "$FAKE" && echo *)" "Kconfig Makefile kernel.c"
	ember kernel delete clean
}

@test "a tarball is a source too" {
	tar -cJf "$BATS_TEST_TMPDIR/linux.tar.xz" -C "$BATS_FILE_TMPDIR" source
	expect 0 ember kernel build packed --source "$BATS_TEST_TMPDIR/linux.tar.xz"
	expect 0 ember kernel build packed --source "$BATS_TEST_TMPDIR/linux.tar.xz"
	contains "$output" "is already built"
	# It is the content that counts, not where it lies or since when.
	mv "$BATS_TEST_TMPDIR/linux.tar.xz" "$BATS_TEST_TMPDIR/other.tar.xz"
	touch -d yesterday "$BATS_TEST_TMPDIR/other.tar.xz"
	expect 0 ember kernel build packed --source "$BATS_TEST_TMPDIR/other.tar.xz"
	contains "$output" "is already built"
	mv "$BATS_TEST_TMPDIR/other.tar.xz" "$BATS_TEST_TMPDIR/linux.tar.xz"
	cp -r "$FAKE" "$BATS_TEST_TMPDIR/source"
	echo >>"$BATS_TEST_TMPDIR/source/kernel.c"
	tar -cJf "$BATS_TEST_TMPDIR/other.tar.xz" -C "$BATS_TEST_TMPDIR" source
	expect 0 ember kernel build packed --source "$BATS_TEST_TMPDIR/other.tar.xz"
	contains "$output" "built successfully"
	ember kernel delete packed
	head -c 300 "$BATS_TEST_TMPDIR/linux.tar.xz" >"$BATS_TEST_TMPDIR/cut.tar.xz"
	expect 1 ember kernel build packed --source "$BATS_TEST_TMPDIR/cut.tar.xz"
	explains "cut.tar.xz"
}

# The archive's package, by programs that play apt's part: a package with the fake source in it.
fake_archive() {
	local bin=$BATS_TEST_TMPDIR/archive package=$BATS_TEST_TMPDIR/package

	mkdir -p "$bin" "$package/DEBIAN" "$package/usr/src"
	cp -r "$FAKE" "$BATS_TEST_TMPDIR/linux-source-9.9"
	tar -cJf "$package/usr/src/linux-source-9.9.tar.xz" -C "$BATS_TEST_TMPDIR" linux-source-9.9
	printf 'Package: linux-source-9.9\nVersion: 9.9-1\nArchitecture: all\nMaintainer: x\nDescription: x\n' \
		>"$package/DEBIAN/control"
	dpkg-deb -Znone -b "$package" "$BATS_TEST_TMPDIR/linux-source-9.9_9.9-1_all.deb" >/dev/null
	echo 9.9-1 >"$BATS_TEST_TMPDIR/candidate"
	cat >"$bin/apt-get" <<-APT
		#!/bin/sh
		echo "\$1" >>$BATS_TEST_TMPDIR/asked
		[ "\$1" != download ] || cp $BATS_TEST_TMPDIR/linux-source-*.deb .
	APT
	cat >"$bin/apt-cache" <<-APT
		#!/bin/sh
		case \$1 in
		depends) echo '  Depends: linux-source-9.9' ;;
		policy) echo "  Candidate: \$(cat $BATS_TEST_TMPDIR/candidate)" ;;
		esac
	APT
	chmod +x "$bin"/apt-*
	PATH=$bin:$PATH
}

@test "the source comes from the distribution's archive, once for each version" {
	fake_archive
	expect 0 ember kernel build distro --refresh
	contains "$output" "built successfully"
	equal "$(tr '\n' ' ' <"$BATS_TEST_TMPDIR/asked")" "update download "
	equal "$(head -n 1 "$EMBER_STATE_DIR/kernels/distro/recipe")" "source package linux-source-9.9 9.9-1"
	expect 0 ember kernel build distro --refresh
	contains "$output" "is already built"
	equal "$(tr '\n' ' ' <"$BATS_TEST_TMPDIR/asked")" "update download update "
	echo 9.9-2 >"$BATS_TEST_TMPDIR/candidate"
	expect 0 ember kernel build distro --refresh
	contains "$output" "built successfully"
	ember kernel delete distro
}

@test "an archive that has no kernel source is named" {
	fake_archive
	printf '#!/bin/sh\nexit 0\n' >"$BATS_TEST_TMPDIR/archive/apt-cache"
	expect 3 ember kernel build distro --refresh
	explains "linux-source" "--source"
}

@test "a compiler error is shown, and the whole output is kept until a build succeeds" {
	local log=$EMBER_STATE_DIR/kernels/.broken.build.log

	expect 1 build broken --config "$(fragment CONFIG_FAKE_FAIL=y)"
	explains "build kernel 'broken'" "net/core/dev.c:7:2: error: this is no C" "$log"
	grep -q 'CC      init/main.o' "$log"
	[ ! -e "$EMBER_STATE_DIR/kernels/broken" ]
	expect 1 build broken --config "$(fragment CONFIG_FAKE_FAIL=y)" --format json
	json '.error.code == "failed" and (.error.detail | contains("this is no C"))'
	expect 0 build broken
	[ ! -e "$log" ]
	ember kernel delete broken
}

@test "options that do not take effect are named" {
	expect 6 build none --config "$(fragment CONFIG_FAKE_UNKNOWN_A=y 'CONFIG_FAKE_UNKNOWN_B="x y"')"
	explains 'CONFIG_FAKE_UNKNOWN_A=y, CONFIG_FAKE_UNKNOWN_B="x y"' "--config"
	expect 0 build none --config "$(fragment '#? CONFIG_FAKE_UNKNOWN_A=y')"
	ember kernel delete none
}

@test "a kernel that could not be started is refused" {
	expect 6 build none --config "$(fragment CONFIG_FAKE_NO_PVH=y)"
	explains "no PVH entry point" "CONFIG_PVH"
	[ ! -e "$EMBER_STATE_DIR/kernels/none" ]
}

@test "mistakes are told before anything is made" {
	expect 2 build none --config "$(fragment CONFIG_A=y 'CONFIG_B = y')"
	explains "line 2" "CONFIG_NAME=y"
	expect 2 build none --config "$(fragment CONFIG_A=m)"
	explains "CONFIG_A is asked for as a module" "CONFIG_A=y"
	expect 3 build none --config /nowhere/fragment
	explains /nowhere/fragment
	expect 3 ember kernel build none --source /nowhere/linux
	explains /nowhere/linux "--source"
	expect 2 ember kernel build none --source "$BATS_TEST_TMPDIR"
	explains "is not the source of a kernel"
	expect 2 build stock
	explains "the distribution's kernel"
	expect 2 build ../up
	explains "../up"
	expect 2 build none -j many
	explains "many"
	cp -r "$FAKE" "$BATS_TEST_TMPDIR/a b"
	expect 6 ember kernel build none --source "$BATS_TEST_TMPDIR/a b"
	explains "'$BATS_TEST_TMPDIR/a b' has a space or a colon" "tarball"
	cp "$STOCK/vmlinux" "$BATS_TEST_TMPDIR/vmlinux"
	ember kernel add added "$BATS_TEST_TMPDIR/vmlinux"
	expect 4 build added
	explains "was not built" "ember kernel delete added"
	ember kernel delete added
}

@test "missing tools are named all at once, before anything is fetched" {
	local bin

	bin=$(tools_without flex bison bc)
	expect 7 env PATH="$bin" "$EMBER" kernel build none
	explains "lacks flex, bison, bc" "apt-get install flex bison bc"
	bin=$(tools_without gcc)
	rm "$bin/gcc"
	expect 7 env PATH="$bin" "$EMBER" kernel build none --format json
	json '.error.code == "missing_tool" and (.error.hint | contains("gcc") and contains("libelf-dev"))'
}

@test "too small a disk is told before the work" {
	[ "$(id -u)" -eq 0 ] || skip "mounting needs root"
	mkdir "$BATS_TEST_TMPDIR/small"
	mount -t tmpfs -o size=100m none "$BATS_TEST_TMPDIR/small"
	mkdir -m 700 "$BATS_TEST_TMPDIR/small/kernels"
	mount --bind "$BATS_TEST_TMPDIR/small/kernels" "$EMBER_STATE_DIR/kernels"
	expect 1 build none
	explains "takes 400 MiB" "there are" "ember kernel add"
}

@test "a disk that gets full while the stock kernel is unpacked is one sentence" {
	local bin=$BATS_TEST_TMPDIR/bin package=$BATS_TEST_TMPDIR/package file

	[ "$(id -u)" -eq 0 ] || skip "mounting needs root"
	mkdir -p "$bin" "$package/DEBIAN" "$package/boot"
	truncate -s 60M "$package/boot/a"
	for file in "$package"/boot/b{1..70}; do echo content >"$file"; done
	printf 'Package: linux-image-9.9\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n' >"$package/DEBIAN/control"
	dpkg-deb -b "$package" "$BATS_TEST_TMPDIR/linux-image-9.9_1_all.deb" >/dev/null
	printf '#!/bin/sh\n[ "$1" != download ] || cp %s/*.deb .\n' "$BATS_TEST_TMPDIR" >"$bin/apt-get"
	printf '#!/bin/sh\necho "  Depends: linux-image-9.9"\n' >"$bin/apt-cache"
	chmod +x "$bin"/apt-*
	ember vm create full --image busybox "${SMALL[@]}" --no-start
	mkdir "$BATS_TEST_TMPDIR/small"
	mount -t tmpfs -o size=30m none "$BATS_TEST_TMPDIR/small"
	mkdir -m 700 "$BATS_TEST_TMPDIR/small/kernels"
	mount --bind "$BATS_TEST_TMPDIR/small/kernels" "$EMBER_STATE_DIR/kernels"
	PATH=$bin:$PATH expect 1 ember vm start full
	explains "unpack package 'linux-image-9.9'" "No space left on device" "df -h"
	[[ $stderr != *tar:* && $stderr != *dpkg-deb* ]]
	ember vm delete full
}

slow_build() {
	timeout 120 "$EMBER" kernel build slow --source "$FAKE" --config "$(fragment CONFIG_FAKE_SLOW=y)" \
		>"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" 3>&- &
	until_true 20 is_compiling
}

is_compiling() {
	pgrep -f "make .*O=$EMBER_STATE_DIR/kernels/.slow.work/objects .*vmlinux" >/dev/null && pgrep -fx "sleep $NAP" >/dev/null
}

nothing_compiles() {
	! pgrep -f "make .*O=$EMBER_STATE_DIR/kernels/.slow.work" >/dev/null
}

@test "Ctrl-C ends the compilers, and leaves nothing" {
	slow_build
	pkill -INT -P $! ember
	waited $!
	equal "$status" 130
	until_true 5 nothing_compiles
	equal "$(ls -A "$EMBER_STATE_DIR/tmp")" ""
	[ ! -e "$EMBER_STATE_DIR/kernels/.slow.build.log" ]
}

@test "when ember is killed the compilers go too, and the next command clears up" {
	slow_build
	pkill -KILL -P $! ember
	waited $!
	until_true 5 nothing_compiles
	ember reconcile
	equal "$(ls -A "$EMBER_STATE_DIR/tmp")" ""
}

@test "two builds of one name: the second one is told" {
	slow_build
	expect 4 build slow
	explains "busy"
	pkill -INT -P $! ember
	waited $!
}
