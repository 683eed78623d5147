/*
 * What ember-image can do, one function each: given the words after the program's name, they do it, announce the result
 * or the error, and return the exit status.
 */
#pragma once

int command_import(int argc, char *argv[]);
int command_export(int argc, char *argv[]);
int command_probe(int argc, char *argv[]);
int command_verify(int argc, char *argv[]);
/* Becomes the program that it is given by its path, so that exit status and output are that one's. */
int command_confined(int argc, char *argv[]);
