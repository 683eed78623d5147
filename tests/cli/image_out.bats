# Images on their way out, and back: registries, archives and disks.
load lib
load registry

setup_file() {
	export FILES=$BATS_FILE_TMPDIR/files

	new_state
	mkdir "$FILES"
	start_registry REGISTRY
	fill_registry "$REGISTRY" "$OCI/busybox:latest" tools/box:1
	ember image pull "$REGISTRY/tools/box:1" --tls-verify=false --name pulled
	"$CLI_DIR/mkodd" "$FILES/odd.tar"
	echo '{"config":{"Env":["ODD=yes"],"Cmd":["/bin/sh"],"WorkingDir":"/odd","ExposedPorts":{"80/tcp":{}},"Labels":{"a":"b=c"}}}' \
		>"$FILES/odd.json"
	ember image import odd "$FILES/odd.tar" --config "$FILES/odd.json"
}

teardown_file() {
	stop_registries
	drop_state
}

teardown() {
	! mountpoint -q "$BATS_TEST_TMPDIR/tiny" || umount "$BATS_TEST_TMPDIR/tiny"
	assert_no_leftovers
}

inspect() {
	ember image inspect "$1" --format json | jq -r "$2"
}

# same_image ONE OTHER: every file, and how it wants to be run.
same_image() {
	python3 "$CLI_DIR/../image/sametree.py" "$(inspect "$1" .disk_path)" "$(inspect "$2" .disk_path)"
	equal "$(inspect "$1" '.config | tostring')" "$(inspect "$2" '.config | tostring')"
	run e2fsck -fn "$(inspect "$2" .disk_path)"
	[ "$status" -eq 0 ]
}

digest_in_registry() {
	skopeo inspect --tls-verify=false "docker://$REGISTRY/$1" 3>&- | jq -r .Digest
}

@test "an image that was pulled is exported as it came" {
	expect 0 ember image export pulled "$FILES/pulled.tar" --format json
	json '.image == "pulled" and .format == "oci-archive" and .status == "exported"'
	equal "$(jq -r .digest <<<"$output")" "$(digest_in_registry tools/box:1)"
	equal "$(skopeo inspect "oci-archive:$FILES/pulled.tar" 3>&- | jq -r .Digest)" "$(digest_in_registry tools/box:1)"
	expect 0 ember image import back "$FILES/pulled.tar"
	equal "$(inspect back .digest)" "$(inspect pulled .digest)"
	same_image pulled back
	ember image delete back
}

@test "an image that was pulled is pushed as it came" {
	expect 0 ember image push pulled "$REGISTRY/other/box:2" --tls-verify=false --format json
	json ".image == \"pulled\" and .status == \"pushed\" and .reference == \"$REGISTRY/other/box:2\""
	equal "$(jq -r .digest <<<"$output")" "$(inspect pulled .digest)"
	equal "$(digest_in_registry other/box:2)" "$(digest_in_registry tools/box:1)"
	expect 0 ember image push "$REGISTRY/tools/box:1" "$REGISTRY/other/box:3" --tls-verify=false
	contains "$output" "pushed to $REGISTRY/other/box:3" "sha256:"
}

@test "an image of a layout leaves as it came, and the layout stays as it was" {
	local layout=$FILES/a:colon before

	cp -r "$OCI/busybox" "$FILES/laid"
	umoci config --image "$FILES/laid:latest" --config.volume /data --history.comment "a comment"
	mv "$FILES/laid" "$layout"
	before=$(find "$layout" -type f -exec sha256sum {} + | sort)
	ember image prune --blobs
	expect 0 ember image pull "oci:$layout:latest" --name laid
	equal "$(find "$layout" -type f -exec sha256sum {} + | sort)" "$before"
	rm -r "$layout"
	expect 0 ember image export laid "$FILES/laid.tar" --format json
	equal "$(jq -r .digest <<<"$output")" "$(inspect laid .digest)"
	skopeo inspect --config "oci-archive:$FILES/laid.tar" 3>&- >"$FILES/laid.json"
	jq -e '.config.Volumes["/data"] and (.history | last | .comment == "a comment")' "$FILES/laid.json"
	ember image delete laid
	# The other tests' image is still to come from there.
	expect 0 ember image pull "$REGISTRY/tools/box:1" --tls-verify=false --name pulled-again
	ember image delete pulled-again
}

@test "push and pull: the same tree, every odd file in it" {
	expect 0 ember image push odd "$REGISTRY/odd/box:1" --tls-verify=false --format json
	local digest

	digest=$(jq -r .digest <<<"$output")
	expect 0 ember image pull "$REGISTRY/odd/box@$digest" --tls-verify=false --name odd-back
	equal "$(inspect odd-back .digest)" "$digest"
	same_image odd odd-back
	# Once more gives nothing new.
	expect 0 ember image push odd "$REGISTRY/odd/box:2" --tls-verify=false --format json
	equal "$(jq -r .digest <<<"$output")" "$digest"
	ember image delete odd-back
}

@test "export to an archive, a raw disk and a qcow2, and import again: the same tree, every odd file in it" {
	local file

	for file in odd-1.tar odd-1.raw odd-1.qcow2; do
		expect 0 ember image export odd "$FILES/$file"
		expect 0 ember image import odd-back "$FILES/$file"
		same_image odd odd-back
		ember image delete odd-back
	done
	ember image export odd - | expect 0 ember image import odd-back -
	same_image odd odd-back
	boot odd-vm odd-back
	expect 0 ember exec odd-vm -- sh -c 'pwd; echo $ODD; stat -c "%a %u %g" setuid owned sticky; cat other-name; readlink link'
	equal "$output" $'/odd\nyes\n4755 0 0\n640 100000 4294967290\n3777 0 0\nlinkedone-name'
	ember vm delete --force odd-vm
	ember image delete odd-back
}

@test "what other tools make of our archive is the same tree" {
	local layout=$FILES/layout

	ember image export odd "$FILES/for-umoci.tar"
	skopeo copy --quiet "oci-archive:$FILES/for-umoci.tar" "oci:$layout:odd" 3>&-
	equal "$(jq -r '.manifests[0].digest' "$layout/index.json")" \
		"$(skopeo inspect "oci-archive:$FILES/for-umoci.tar" 3>&- | jq -r .Digest)"
	[ "$(id -u)" -eq 0 ] || skip "this is about devices and owners"
	umoci unpack --image "$layout:odd" "$FILES/unpacked" 3>&-
	equal "$(stat -c '%a %u %g' "$FILES/unpacked/rootfs/odd/"{setuid,owned,sticky})" $'4755 0 0\n640 100000 4294967290\n3777 0 0'
	equal "$(stat -c %i "$FILES/unpacked/rootfs/odd/one-name")" "$(stat -c %i "$FILES/unpacked/rootfs/odd/sticky/third-name")"
	equal "$(stat -c '%F %t:%T' "$FILES/unpacked/rootfs/odd/disk")" "block special file fc:10"
	# ember adds its own files when it makes a disk; they are not part of what leaves.
	[ ! -e "$FILES/unpacked/rootfs/usr/lib/ember" ]
}

@test "the same image gives the same archive" {
	equal "$(ember image export odd - | sha256sum)" "$(ember image export odd - | sha256sum)"
}

@test "an archive of a VM: its files, and how its image wants to be run" {
	ember vm create writer --image pulled "${SMALL[@]}" --wait --env MORE=yes
	ember exec writer -- sh -c 'echo written >/root/written; hostname; sync'
	ember vm stop --force writer
	expect 0 ember vm export writer "$FILES/writer.tar" --format json
	json '.vm == "writer" and .format == "oci-archive" and (.digest | startswith("sha256:"))'
	expect 0 ember image import written "$FILES/writer.tar"
	json_env=$(inspect written '.config.env | tostring')
	contains "$json_env" FROM_IMAGE=yes MORE=yes
	boot reader written
	expect 0 ember exec reader -- sh -c 'cat /root/written; hostname'
	equal "$output" $'written\nreader'
	ember vm delete --force reader writer
	ember image delete written
}

@test "push: what a registry says is understood" {
	start_registry --auth LOCKED
	run ! ember image push odd "$REGISTRY/x/y:1"
	contains "$output" "--tls-verify=false"
	expect 5 ember image push pulled "$LOCKED/x/y:1" --tls-verify=false
	explains "skopeo login"
	expect 5 ember image push pulled "$LOCKED/x/y:1" --tls-verify=false --creds emily:wr0ng
	explains "$LOCKED"
	[[ $stderr != *wr0ng* ]]
	expect 0 ember image push pulled "$LOCKED/x/y:1" --tls-verify=false --creds "$LOGIN"
	EMBER_CREDS=$LOGIN expect 0 ember image push pulled "$LOCKED/x/y:2" --tls-verify=false
	run --separate-stderr ember image push pulled 127.0.0.1:1/x/y:1 --tls-verify=false
	refused
	explains 127.0.0.1:1
	expect 2 ember image push pulled "$REGISTRY/x/y@$(inspect pulled .digest)"
	explains "digest"
	expect 2 ember image push pulled "UPPER/case"
	expect 2 ember image push pulled oci:/tmp/x:1
	explains "in no registry" "ember image export pulled FILE"
	expect 2 ember image push pulled "$REGISTRY/x/y:1" --creds nocolon
	expect 3 ember image push nosuch "$REGISTRY/x/y:1"
	expect 2 ember image push pulled
}

@test "push: Ctrl-C leaves nothing" {
	ended_by_ctrl_c skopeo image push odd "$REGISTRY/x/y:1"
}

@test "export: a pipe that closes, a full disk, names that are taken" {
	local tiny=$BATS_TEST_TMPDIR/tiny

	# shellcheck disable=SC2016 # for the other shell
	run --separate-stderr bash -o pipefail -c '"$EMBER_BUILD/ember" image export odd - 3>&- | head -c 1000 >/dev/null'
	[ "$status" -ne 0 ]
	expect 4 ember image export odd "$FILES/odd.tar"
	explains "exists already" "--force"
	expect 4 ember image export odd "$FILES"
	expect 3 ember image export nosuch "$FILES/nosuch.tar"
	expect 2 ember image export odd "$FILES/x" --as vmdk
	expect 2 ember image export odd "$FILES/x.tar.gz"
	explains "x.tar.gz" "--as"
	expect 2 ember image export odd "$FILES/x.VMDK"
	[ ! -e "$FILES/x.tar.gz" ]
	[ ! -e "$FILES/nosuch.tar" ]
	[ "$(id -u)" -eq 0 ] || skip "this is about mounting"
	mkdir "$tiny"
	mount -t tmpfs -o size=1m none "$tiny"
	run --separate-stderr ember image export odd "$tiny/file.tar"
	refused
	contains "$stderr" "No space left on device"
	run --separate-stderr ember image export pulled "$tiny/file.qcow2"
	refused
	explains "No space left on device" "df"
	equal "$(ls -A "$tiny")" ""
}

@test "export to a filesystem that can neither make files without a name nor rename without replacing" {
	local file=$FILES/old-ways.tar

	expect 0 "$CLI_DIR/old-ways" "$EMBER" image export odd "$file"
	equal "$(cd "$FILES" && echo old-ways*)" old-ways.tar
	equal "$(sha256sum <"$file")" "$(ember image export odd - | sha256sum)"
	expect 4 "$CLI_DIR/old-ways" "$EMBER" image export odd "$file"
	expect 0 "$CLI_DIR/old-ways" "$EMBER" image export odd "$file" --force
	equal "$(cd "$FILES" && echo old-ways*)" old-ways.tar
	rm "$file"
}

# One byte of each layer, as a failing disk would.
damage_cache() {
	local blob

	find "$EMBER_STATE_DIR/blobs/sha256" -size +4k | while read -r blob; do
		chmod u+w "$blob"
		printf 'x' | dd of="$blob" bs=1 seek=2000 conv=notrunc status=none
	done
}

@test "with a damaged cache an image leaves whole, from its disk" {
	local box=$REGISTRY/tools/box:1

	damage_cache
	expect 0 ember image export pulled "$FILES/damaged.tar"
	contains "$stderr" "warning: " "blob cache is damaged"
	expect 0 ember image import back "$FILES/damaged.tar"
	same_image pulled back
	ember image delete back
	ember image pull "$box" --name again --tls-verify=false
	damage_cache
	expect 0 ember image push again "$REGISTRY/tools/mended:1" --tls-verify=false
	contains "$stderr" "blob cache is damaged"
	digest_in_registry tools/mended:1
	ember image delete again
}

@test "without the cache an image leaves all the same" {
	ember image prune --blobs
	expect 0 ember image export pulled "$FILES/without.tar"
	expect 0 ember image import back "$FILES/without.tar"
	same_image pulled back
	ember image delete back
}
