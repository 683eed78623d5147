# Images: where they come from, and what is refused.
load lib
load registry

setup_file() {
	new_state
	start_registry REGISTRY
	fill_registry "$REGISTRY" "$OCI/busybox:latest" tools/box:1
}

teardown_file() {
	stop_registries
	drop_state
}

teardown() {
	assert_no_leftovers
}

@test "pull of an OCI layout, named after its directory and tag" {
	expect 0 ember image pull "oci:$OCI/busybox:latest" --name layout
	contains "$output" "pulled successfully"
	expect 0 ember image inspect layout --format json
	json '.local_name == "layout" and .size_bytes > 1000000 and (.digest | startswith("sha256:"))'
	json '.config.env | index("FROM_IMAGE=yes") != null'
}

@test "an OCI layout with one image needs no tag" {
	expect 0 ember image pull "oci:$OCI/busybox" --name untagged
}

@test "the record says which machine an image is for" {
	local other=$BATS_TEST_TMPDIR/other blobs=$BATS_TEST_TMPDIR/other/blobs/sha256 manifest config digest

	cp -r "$OCI/busybox" "$other"
	manifest=$blobs/$(jq -r '.manifests[0].digest' "$other/index.json" | cut -d : -f 2)
	config=$blobs/$(jq -r .config.digest "$manifest" | cut -d : -f 2)
	jq -c '.architecture = "arm64"' "$config" >"$other/config"
	digest=$(sha256sum <"$other/config" | cut -d ' ' -f 1)
	jq --arg digest "sha256:$digest" --argjson size "$(stat -c %s "$other/config")" \
		'.config += { digest: $digest, size: $size }' "$manifest" >"$other/manifest"
	mv "$other/config" "$blobs/$digest"
	mv "$other/manifest" "$manifest"
	move_layout "$other"
	expect 0 ember image pull "oci:$other:latest" --platform linux/arm64 --name foreign
	equal "$(ember image inspect foreign --format json | jq -r .arch)" aarch64
	equal "$(ember image inspect busybox --format json | jq -r .arch)" "$(uname -m)"
	ember image delete foreign
}

@test "pull again: already there, exit 0" {
	ember image pull "oci:$OCI/busybox:latest" --name twice
	expect 0 ember image pull "oci:$OCI/busybox:latest" --name twice
	contains "$output$stderr" "already exists"
}

@test "two references never share a name, not even when they are pulled at once" {
	local dir=$BATS_TEST_TMPDIR one two

	mkdir "$dir/one" "$dir/two"
	cp -r "$OCI/busybox" "$dir/one/same"
	cp -r "$OCI/busybox" "$dir/two/same"
	ember image pull "oci:$dir/one/same:latest" &
	one=$!
	ember image pull "oci:$dir/two/same:latest" &
	two=$!
	wait "$one" && wait "$two"
	expect 0 ember image list --format json
	json '[.images[] | select(.local_name | startswith("same-latest"))] | length == 2'
	json '[.images[] | select(.local_name | startswith("same-latest")).reference] | unique | length == 2'

	expect 0 ember image pull "oci:$dir/one/same:latest" --name taken
	expect 4 ember image pull "oci:$dir/two/same:latest" --name taken
	explains "taken" "$dir/one/same:latest" "--refresh"
	expect 0 ember image pull "oci:$dir/two/same:latest" --name taken --refresh
	equal "$(ember image inspect taken --format json | jq -r .reference)" "oci:$dir/two/same:latest"
}

@test "--refresh replaces an image when its reference moved, and only then" {
	local moving=$BATS_TEST_TMPDIR/moving before

	cp -r "$OCI/busybox" "$moving"
	ember image pull "oci:$moving:latest" --name moving
	before=$(ember image inspect moving --format json)
	expect 0 ember image pull "oci:$moving:latest" --name moving --refresh
	contains "$output" "up to date"
	equal "$(ember image inspect moving --format json)" "$before"
	move_layout "$moving"
	expect 0 ember image pull "oci:$moving:latest" --name moving --refresh
	contains "$output" "pulled successfully"
	expect 0 ember image inspect moving --format json
	json ".id != \"$(jq -r .id <<<"$before")\" and .digest != \"$(jq -r .digest <<<"$before")\""
	[ ! -e "$(jq -r .disk_path <<<"$before")" ]
	ember image delete moving
}

@test "the volume is a clean ext4, sealed" {
	local disk

	disk=$(ember image inspect busybox --format json | jq -r .disk_path)
	run e2fsck -fn "$disk"
	[ "$status" -eq 0 ]
	equal "$(stat -c %a "$disk")" 444
	run debugfs -R 'stat /home/user' "$disk"
	contains "$output" "User:  1000"
}

@test "pull from a registry, and the local name keeps the registry" {
	local name=${REGISTRY/:/-}-tools-box-1

	expect 0 ember image pull "$REGISTRY/tools/box:1" --tls-verify=false
	expect 0 ember image list --format json
	json ".images | map(.local_name) | index(\"$name\") != null"
	expect 0 ember vm create from-registry --image "$REGISTRY/tools/box:1" "${SMALL[@]}" --wait
	expect 0 ember exec from-registry -- echo up
	equal "$output" up
	ember vm delete --force from-registry
}

@test "pull by digest" {
	local digest

	digest=$(skopeo inspect --tls-verify=false "docker://$REGISTRY/tools/box:1" 3>&- | jq -r .Digest)
	expect 0 ember image pull "$REGISTRY/tools/box@$digest" --tls-verify=false --name by-digest
	equal "$(ember image inspect by-digest --format json | jq -r .digest)" "$digest"
	expect 0 ember image list
	contains "$output" "box@${digest:0:19} "
	[[ $output != *"$digest"* ]]
	contains "$(ember image inspect by-digest)" "box@$digest"
}

@test "what is no reference: exit 2" {
	local reference

	for reference in 'UPPER/Case' 'a b' 'x@sha256:12' ':tag' 'http://x/y' ''; do
		expect 2 ember image pull -- "$reference"
		contains "$stderr" "hint: "
	done
}

@test "create from what is no reference: exit 2; from what is not here: exit 3" {
	local reference

	for reference in 'UPPER/Case' 'a b' 'x@sha256:12' ''; do
		expect 2 ember vm create none --image "$reference" --no-start
		contains "$stderr" "hint: "
	done
	expect 3 ember vm create none --image nosuch --no-start
	expect 3 ember vm create none --image "oci:$BATS_TEST_TMPDIR/nosuch" --no-start
}

@test "an OCI layout that is not there, or lacks the tag: exit 3" {
	expect 3 ember image pull "oci:$BATS_TEST_TMPDIR/none:latest"
	contains "$stderr" "hint: "
	expect 3 ember image pull "oci:$OCI/busybox:nosuch"
	contains "$stderr" "nosuch"
}

@test "a layer that is not what its digest says" {
	run --separate-stderr ember image pull "oci:$OCI/digest:latest" --name bad
	refused
	explains "digest"
	expect 3 ember image inspect bad
}

@test "a layer that ends early" {
	run --separate-stderr ember image pull "oci:$OCI/truncated:latest" --name bad
	refused
	explains
	expect 3 ember image inspect bad
}

@test "a member that climbs out with ../" {
	run --separate-stderr ember image pull "oci:$OCI/dotdot:latest" --name bad
	refused
	explains ".."
	expect 3 ember image inspect bad
	run find "$EMBER_TEST_CACHE" -name escaped
	equal "$output" ""
}

@test "the built-in Debian boots and is Debian" {
	boot deb debian
	expect 0 ember exec deb -- cat /etc/debian_version
	contains "$output" "12."
	expect 0 ember exec deb -- dpkg --audit
	equal "$output" ""
	expect 0 ember exec deb -- stat -c '%a %U' /usr/bin/su /tmp
	equal "$output" $'4755 root\n1777 root'
	ember vm delete --force deb
}

@test "a bare busybox boots: ember-guest is its PID 1, and reaps" {
	boot bare
	expect 0 ember exec bare -- cat /proc/1/comm
	contains "$output" ember
	ember exec bare -- sh -c '(sleep 0.1 &) ; exit 0'
	sleep 1
	# A zombie's name stands in brackets; grep's own is not among them.
	expect 0 ember exec bare -- sh -c 'ps | grep "\[sleep\]"; true'
	equal "$output" ""
	ember vm delete --force bare
}

@test "list: a table, JSON, and what is said when there is none" {
	expect 0 ember image list
	contains "$output" NAME busybox debian
	expect 0 ember image list --format json
	json '.images | map(.local_name) | index("busybox") != null'
	local empty=$BATS_TEST_TMPDIR/empty

	expect 0 ember -s "$empty" image list
	contains "$output" "No images found"
	[ ! -e "$empty" ]
}

@test "delete is refused while VMs use it, and lists them" {
	ember vm create user-1 --image busybox "${SMALL[@]}" --no-start
	expect 4 ember image delete busybox
	explains "user-1"
	ember vm delete user-1
}

@test "delete takes the volume away" {
	local disk

	ember image pull "oci:$OCI/busybox:latest" --name short-lived
	disk=$(ember image inspect short-lived --format json | jq -r .disk_path)
	expect 0 ember image delete short-lived
	contains "$output" deleted
	[ ! -e "$disk" ]
	expect 3 ember image delete short-lived
	expect 3 ember image inspect short-lived
}

@test "a build that is killed leaves nothing running" {
	local bin=$BATS_TEST_TMPDIR/bin command

	mkdir "$bin"
	# Slow in a child of its own, which does not know that anybody died.
	cat >"$bin/mmdebstrap" <<-FAKE
		#!/bin/bash
		trap '' PIPE
		sleep 61.$$
	FAKE
	chmod +x "$bin/mmdebstrap"
	sleeps() { pgrep -fx "sleep 61\.$$" >/dev/null; }
	none_left() { ! sleeps && assert_no_processes; }
	PATH=$bin:$PATH "$EMBER" image build killed >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	command=$!
	until_true 10 sleeps
	kill -9 "$command"
	until_true 2 none_left
	ember reconcile
	expect 0 ember reconcile --dry-run --format json
	json '(.actions // .) == []'
	expect 3 ember image inspect killed
}

@test "a program that is missing is told with its package: exit 7" {
	local bin=$BATS_TEST_TMPDIR/bin

	mkdir "$bin"
	expect 7 env "PATH=$bin" "$EMBER" image pull "$REGISTRY/tools/box:1" --name missing
	explains "skopeo" "apt-get install skopeo"
	expect 7 env "PATH=$bin" "$EMBER" image build missing
	explains "mmdebstrap" "apt-get install mmdebstrap"
}

@test "names of images are checked" {
	local name

	for name in '../x' 'A' 'a/b' '.x'; do
		expect 2 ember image pull "oci:$OCI/busybox:latest" --name "$name"
	done
}

@test "--pull fetches what create needs" {
	expect 0 ember vm create fetched --image "oci:$OCI/busybox:latest" --pull "${SMALL[@]}" --no-start
	ember vm delete fetched
}
