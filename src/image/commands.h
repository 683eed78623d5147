/*
 * What ember-image can do, one function each: given the words after the program's name, they do it, announce the result
 * or the error, and return the exit status.
 */
#pragma once

int command_import(int argc, char *argv[]);
int command_export(int argc, char *argv[]);
int command_probe(int argc, char *argv[]);
int command_verify(int argc, char *argv[]);
