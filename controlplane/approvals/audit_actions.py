ACTIONS = frozenset(
    {
        "approvals.designate",
        "approvals.token_create",
        "approvals.token_revoke",
        "approvals.second_factor_enrol",
        "approvals.user_create",
        "approvals.password_set",
        "approvals.sign_in",
        "approvals.sign_out",
    }
)
