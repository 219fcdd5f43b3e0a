#!/usr/bin/env escript
%%! -noinput
%% Runs one Erlang block of a document; the exit status tells.
%%   evaluate FILE ROOT   expressions, as a shell would
%%   compile FILE ROOT    a module, left beside it for later blocks
%%   terms FILE ROOT      a file of terms
%%   parse FILE ROOT      expressions, read only
-mode(compile).

main([Action, File, Root]) ->
    true = code:add_patha(filename:join(Root, "_build/default/lib/erlpy/ebin")),
    true = code:add_patha(filename:dirname(File)),
    try
        run(Action, File),
        halt(0)
    catch
        Class:Reason:Stack ->
            io:format("~ts~n", [erl_error:format_exception(Class, Reason, Stack)]),
            halt(1)
    end.

run("terms", File) ->
    {ok, [_ | _]} = file:consult(File);
run("parse", File) ->
    {ok, Text} = file:read_file(File),
    [_ | _] = expressions(unicode:characters_to_list(Text), 1);
run("compile", File) ->
    {ok, _, []} = compile:file(File, [return, warnings_as_errors,
                                      {outdir, filename:dirname(File)}]);
run("evaluate", File) ->
    {ok, Text} = file:read_file(File),
    ok = application:load(erlpy),
    ok = application:set_env(erlpy, python_path, ["."]),
    string:find(Text, "ensure_all_started") =:= nomatch andalso
        ({ok, _} = application:ensure_all_started(erlpy)),
    evaluate(expressions(unicode:characters_to_list(Text), 1), erl_eval:new_bindings()).

expressions(Text, Line) ->
    case erl_scan:tokens([], Text, Line) of
        {done, {ok, Tokens, Next}, Rest} ->
            {ok, Expressions} = erl_parse:parse_exprs(Tokens),
            [Expressions | expressions(Rest, Next)];
        {done, {eof, _}, _} ->
            [];
        {more, _} ->
            %% Only blanks and comments may follow the last dot.
            {ok, [], _} = erl_scan:string(Text, Line),
            []
    end.

evaluate([Expressions | Rest], Bindings) ->
    {value, _, Bindings2} = erl_eval:exprs(Expressions, Bindings),
    evaluate(Rest, Bindings2);
evaluate([], _) ->
    ok.
